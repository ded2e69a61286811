# jouleprune_make_torch_target(<torch folder> <with cuda>): IMPORTED targets from a wheel or LibTorch folder.
# find_package(Torch) is avoided on purpose: with a CUDA build of torch it demands a whole toolkit, adds foreign RUNPATHs and
# its own -gencode and -std flags. Also installed: consumers call it from jouleprune-config.cmake.
function(jouleprune_make_torch_target dir with_cuda)
  set(libraries torch torch_cpu c10)  # libtorch.so itself must stay: AOTInductor packages need it
  if(with_cuda)
    list(APPEND libraries torch_cuda c10_cuda)
  endif()
  foreach(name IN LISTS libraries)
    if(NOT TARGET jouleprune_torch_${name})
      add_library(jouleprune_torch_${name} SHARED IMPORTED GLOBAL)
      set_target_properties(jouleprune_torch_${name} PROPERTIES IMPORTED_LOCATION ${dir}/lib/lib${name}.so)
    endif()
  endforeach()
  if(NOT TARGET jouleprune_torch)
    add_library(jouleprune_torch INTERFACE IMPORTED GLOBAL)
    target_include_directories(jouleprune_torch SYSTEM INTERFACE ${dir}/include ${dir}/include/torch/csrc/api/include)
    target_compile_features(jouleprune_torch INTERFACE cxx_std_20)
    list(TRANSFORM libraries PREPEND jouleprune_torch_)
    target_link_libraries(jouleprune_torch INTERFACE ${libraries})
  endif()
endfunction()
