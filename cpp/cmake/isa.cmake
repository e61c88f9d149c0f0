# The only place with -m flags. Every kernels/<family>/*.isa.cpp is compiled once per ISA below,
# with PISTE_ISA naming the namespace of its code and PISTE_VECTOR_BYTES the width of a vector.

function(piste_add_isa name vector_bytes)
  if(PISTE_ISAS AND NOT name IN_LIST PISTE_ISAS)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS cpp/src/kernels/*.isa.cpp cpp/src/kernels/*/*.isa.cpp)
  add_library(piste_kernels_${name} OBJECT ${sources})
  target_link_libraries(piste_kernels_${name} PRIVATE piste_options)
  target_compile_definitions(piste_kernels_${name} PRIVATE PISTE_ISA=${name}
                                                           PISTE_VECTOR_BYTES=${vector_bytes})
  # -ffp-contract=fast: a*b+c is one FMA where there is one. It changes no order of operations.
  # -fno-math-errno, -fno-trapping-math: kernels never look at errno or the exception flags.
  target_compile_options(piste_kernels_${name} PRIVATE ${ARGN} -ffp-contract=fast -fno-math-errno
                                                       -fno-trapping-math -fno-exceptions)
  target_link_libraries(piste_kernels INTERFACE piste_kernels_${name})
  target_sources(piste_kernels INTERFACE $<TARGET_OBJECTS:piste_kernels_${name}>)
  target_compile_definitions(piste_kernels INTERFACE PISTE_HAVE_${name})
endfunction()

function(piste_add_kernels)
  add_library(piste_kernels INTERFACE)
  target_link_libraries(piste_kernels INTERFACE piste_options)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    piste_add_isa(baseline 16 -march=x86-64-v2)
    piste_add_isa(avx2 32 -march=x86-64-v3)
    piste_add_isa(avx512 64 -march=x86-64-v4 -mprefer-vector-width=512)
    if(PISTE_TEST_ISA)
      # The 16-lane code on machines without AVX-512: the compiler splits each vector in two. It is
      # there to be right, not fast; as a third of a wheel it would be there for developers alone.
      piste_add_isa(avx2x2 64 -march=x86-64-v3 -Os)
    endif()
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    piste_add_isa(neon 16)
  else()
    piste_add_isa(baseline 16)
  endif()
endfunction()
