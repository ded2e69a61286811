# Compiler set-up shared by every target: ccache, warnings, sanitizers.
find_program(JOULEPRUNE_CCACHE ccache)
if(JOULEPRUNE_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${JOULEPRUNE_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${JOULEPRUNE_CCACHE})
endif()

if(JOULEPRUNE_SANITIZE)
  set(_sanitizers -fsanitize=address,undefined)
  if(JOULEPRUNE_SANITIZE STREQUAL "THREAD")
    set(_sanitizers -fsanitize=thread)
  endif()
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${_sanitizers};-fno-omit-frame-pointer;-O1>")
  add_link_options(${_sanitizers})
endif()

function(jouleprune_warnings target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall> $<$<COMPILE_LANGUAGE:CXX>:-Wextra>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # False alarms of GCC 12 inside std::string's operator+ and std::vector (GCC bugs 105651, 107852).
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict> $<$<COMPILE_LANGUAGE:CXX>:-Wno-stringop-overflow>)
  endif()
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
endfunction()
