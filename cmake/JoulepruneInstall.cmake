# The install prefix is the Python package folder (site-packages/jouleprune): lib/, include/, share/cmake/, _C.
include(CMakePackageConfigHelpers)
set_target_properties(jouleprune PROPERTIES
  INSTALL_RPATH "$ORIGIN/../../torch/lib;$ORIGIN/../../nvidia/cu13/lib"
  BUILD_RPATH "${JOULEPRUNE_TORCH_DIR}/lib")
install(TARGETS jouleprune EXPORT joulepruneTargets LIBRARY DESTINATION lib)
install(DIRECTORY csrc/include/ DESTINATION include)
configure_package_config_file(cmake/jouleprune-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/jouleprune-config.cmake
  INSTALL_DESTINATION share/cmake/jouleprune)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/jouleprune-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/jouleprune-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/jouleprune-config-version.cmake
  cmake/JoulepruneTorchTargets.cmake DESTINATION share/cmake/jouleprune)
install(EXPORT joulepruneTargets NAMESPACE jouleprune:: DESTINATION share/cmake/jouleprune)

# Read by Python before it loads the library: symbols of another torch would not resolve.
set(JOULEPRUNE_WITH_CUDA_JSON false)
if(JOULEPRUNE_WITH_CUDA)
  set(JOULEPRUNE_WITH_CUDA_JSON true)
endif()
file(CONFIGURE OUTPUT jouleprune-build.json @ONLY CONTENT
"{\"version\": \"@PROJECT_VERSION@\", \"torch_version\": \"@JOULEPRUNE_TORCH_VERSION@\", \"torch_cuda\": \"@JOULEPRUNE_TORCH_CUDA@\", \"with_cuda\": @JOULEPRUNE_WITH_CUDA_JSON@}\n")
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/jouleprune-build.json DESTINATION share)
