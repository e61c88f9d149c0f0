# What the build needs, each with a sentence that says what to do when it is missing.

include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
  message(FATAL_ERROR "piste needs a C++ compiler, and none was found. Install one (Debian: "
                      "apt-get install g++; Fedora: dnf install gcc-c++; macOS: xcode-select "
                      "--install), or set CXX to the one to use.")
endif()
enable_language(CXX)

include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_FLAGS -std=c++20)
check_cxx_source_compiles(
  "typedef int Pair __attribute__((vector_size(8)));
   template <class T> concept Any = true;
   Pair swapped(Pair x) { return __builtin_shufflevector(x, x, 1, 0); }
   int main() {}"
  PISTE_HAS_CXX20_AND_VECTORS)
unset(CMAKE_REQUIRED_FLAGS)
if(NOT PISTE_HAS_CXX20_AND_VECTORS OR NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  message(FATAL_ERROR "piste needs GCC 12 or newer, or Clang 14 or newer (C++20 and vector "
                      "extensions); found ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} "
                      "at ${CMAKE_CXX_COMPILER}. Set CXX to another compiler.")
endif()

find_package(Threads REQUIRED)
