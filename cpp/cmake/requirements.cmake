# What the build needs, each with a sentence that says what to do when it is missing.

include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
  message(FATAL_ERROR "piste needs a C++ compiler, and none was found. Install one (Debian: "
                      "apt-get install g++; Fedora: dnf install gcc-c++; macOS: xcode-select "
                      "--install), or set CXX to the one to use.")
endif()
enable_language(CXX)

include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-std=c++20 PISTE_HAS_CXX20)
if(NOT PISTE_HAS_CXX20 OR NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  message(FATAL_ERROR "piste needs GCC 11 or newer, or Clang 14 or newer (C++20 and vector "
                      "extensions); found ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} "
                      "at ${CMAKE_CXX_COMPILER}. Set CXX to another compiler.")
endif()

find_package(Threads REQUIRED)
