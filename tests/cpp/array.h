#pragma once

#include <vector>

#include "check.h"
#include "piste/tensor.h"

namespace piste::test {

/// An array of small values, and the views of it that operations take.
template <class T>
struct Array {
  std::vector<T> data;
  Shape shape;
  Array(const Shape& s, int seed)
      : data(values<T>(static_cast<std::size_t>(s.size()), seed)), shape(s) {}
  View<T> view() { return {data.data(), shape}; }
  View<const T> view() const { return {data.data(), shape}; }
};

/// <a, b>
template <class T>
double dot(const Array<T>& a, const Array<T>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.data.size(); ++i) sum += double(a.data[i]) * double(b.data[i]);
  return sum;
}

}  // namespace piste::test
