# nlohmann-json: from the system, or from the PyPI package nlohmann-json. Header-only, private to our .cpp files.
find_package(nlohmann_json 3.10 QUIET)
add_library(jouleprune_json INTERFACE)
if(nlohmann_json_FOUND)
  get_target_property(_json_include nlohmann_json::nlohmann_json INTERFACE_INCLUDE_DIRECTORIES)
else()
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(COMMAND ${Python_EXECUTABLE} -c "import nlohmann_json; print(nlohmann_json.get_include())"
    OUTPUT_VARIABLE _json_include OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE _json_failed ERROR_QUIET)
  if(_json_failed)
    message(FATAL_ERROR "jouleprune: nlohmann-json >= 3.10 was not found. Install it: apt-get install nlohmann-json3-dev, "
                        "or pip install nlohmann-json")
  endif()
endif()
target_include_directories(jouleprune_json SYSTEM INTERFACE ${_json_include})

# Xbyak: from the system (apt-get install libxbyak-dev) or -DJOULEPRUNE_XBYAK_DIR; header-only, private to csrc/kernels/jit. Without
# it there is no generated code and the portable kernels run.
set(JOULEPRUNE_XBYAK_DIR "" CACHE PATH "folder that holds xbyak/xbyak.h; empty: where the compiler looks")
find_path(JOULEPRUNE_XBYAK_INCLUDE xbyak/xbyak.h HINTS ${JOULEPRUNE_XBYAK_DIR} ${JOULEPRUNE_XBYAK_DIR}/include)
add_library(jouleprune_xbyak INTERFACE)
if(JOULEPRUNE_XBYAK_INCLUDE)
  target_include_directories(jouleprune_xbyak SYSTEM INTERFACE ${JOULEPRUNE_XBYAK_INCLUDE})
  message(STATUS "jouleprune: generated code: Xbyak at ${JOULEPRUNE_XBYAK_INCLUDE}")
else()
  message(STATUS "jouleprune: no generated code: xbyak/xbyak.h was not found (apt-get install libxbyak-dev, or -DJOULEPRUNE_XBYAK_DIR)")
endif()
