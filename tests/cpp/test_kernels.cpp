// The kernels of one instruction set on lengths around its vectors, against plain loops, in memory
// without a value to spare. What they compute in full is tested from Python.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "dispatch/dispatch.h"
#include "isa.h"

namespace piste {
namespace {

using kernels::Stores;
using test::values;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

/// Lengths with every kind of tail.
std::vector<Index> lengths(int lanes) {
  std::vector<Index> result;
  for (Index n = 0; n <= 2 * lanes + 1; ++n) result.push_back(n);
  result.push_back(7 * lanes - 1);
  return result;
}

template <class T>
void test_pointwise(const kernels::Table<T>& table) {
  for (const Index n : lengths(table.lanes)) {
    const std::vector<T> x = values<T>(size(n), 1), z = values<T>(size(n), 2);
    std::vector<T> y(size(n)), dx(size(n));
    table.pointwise->forward(Activation::leaky_relu, x.data(), y.data(), n, T(0.1), T(0),
                             Stores::cached);
    table.pointwise->backward(Activation::leaky_relu, z.data(), x.data(), dx.data(), n, T(0.1),
                              T(0), Stores::cached);
    for (std::size_t i = 0; i < size(n); ++i) {
      EXPECT_CLOSE(y[i], x[i] < 0 ? T(0.1) * x[i] : x[i], 1e-6);
      EXPECT_CLOSE(dx[i], x[i] > 0 ? z[i] : T(0.1) * z[i], 1e-6);
    }
    // Past the caches, from any place of a vector on: the same values, and no others.
    for (Index first = 0; first < 3; ++first) {
      const T before = 9, behind = 8;
      std::vector<T> streamed(size(first + n + 1), before);
      streamed.back() = behind;
      T* to = streamed.data() + first;
      table.pointwise->forward(Activation::leaky_relu, x.data(), to, n, T(0.1), T(0),
                               Stores::streamed);
      for (std::size_t i = 0; i < size(n); ++i) EXPECT(to[i] == y[i]);
      table.pointwise->backward(Activation::leaky_relu, z.data(), x.data(), to, n, T(0.1), T(0),
                                Stores::streamed);
      for (std::size_t i = 0; i < size(n); ++i) EXPECT(to[i] == dx[i]);
      table.layout->fill(to, n, T(7), Stores::streamed);
      for (std::size_t i = 0; i < size(n); ++i) EXPECT(to[i] == T(7));
      for (Index i = 0; i < first; ++i) EXPECT(streamed[size(i)] == before);
      EXPECT(streamed.back() == behind);
      table.layout->fill(to, n, T(6), Stores::cached);
      for (std::size_t i = 0; i < size(n); ++i) EXPECT(to[i] == T(6));
      EXPECT(streamed.back() == behind);
    }
    table.pointwise->forward(Activation::tanh, x.data(), y.data(), n, T(0), T(0), Stores::cached);
    for (std::size_t i = 0; i < size(n); ++i) EXPECT_CLOSE(y[i], std::tanh(x[i]), 1e-6);
    table.pointwise->add(x.data(), z.data(), y.data(), n);
    for (std::size_t i = 0; i < size(n); ++i) EXPECT_CLOSE(y[i], x[i] + z[i], 0);
    table.pointwise->add_relu(x.data(), z.data(), dx.data(), n);
    for (std::size_t i = 0; i < size(n); ++i) EXPECT(dx[i] == std::max(y[i], T(0)));
    table.pointwise->dropout(x.data(), y.data(), n, T(0.5), 3, 5);
    for (std::size_t i = 0; i < size(n); ++i) EXPECT(y[i] == 0 || y[i] == 2 * x[i]);
  }
}

template <class T>
void test_layout(const kernels::Table<T>& table) {
  for (const Index rows : {1, 3, 8, 17})
    for (const Index columns : lengths(table.lanes)) {
      const Index padded = (rows + table.lanes - 1) / table.lanes * table.lanes;
      const std::vector<T> x = values<T>(size(rows * columns), 1);
      std::vector<T> y(size(columns * padded), T(9));
      table.layout->transpose(x.data(), columns, y.data(), padded, rows, columns, padded);
      for (Index c = 0; c < columns; ++c)
        for (Index r = 0; r < padded; ++r)
          EXPECT(y[size(c * padded + r)] == (r < rows ? x[size(r * columns + c)] : T(0)));
    }
  for (const Index n : lengths(table.lanes)) {
    std::vector<unsigned char> x(size(n));
    for (std::size_t i = 0; i < size(n); ++i) x[i] = static_cast<unsigned char>(255 - 7 * i);
    std::vector<T> y(size(n));
    table.layout->from_bytes(x.data(), y.data(), n, T(0.5), T(-1));
    for (std::size_t i = 0; i < size(n); ++i) EXPECT_CLOSE(y[i], T(0.5) * x[i] - 1, 1e-6);
    const std::vector<T> z = values<T>(size(n), 1);
    for (const bool mirrored : {false, true}) {
      table.layout->row(z.data(), y.data(), n, T(0.5), T(-1), mirrored);
      for (std::size_t i = 0; i < size(n); ++i)
        EXPECT_CLOSE(y[i], T(0.5) * z[mirrored ? size(n) - 1 - i : i] - 1, 1e-6);
    }
  }
}

template <class T>
void test_update(const kernels::Table<T>& table) {
  UpdateOptions<T> options;
  options.lr = T(0.1);
  options.momentum = T(0.9);
  options.weight_decay = T(0.01);
  for (const Index n : lengths(table.lanes)) {
    const std::vector<T> before = values<T>(size(n), 1), g = values<T>(size(n), 2);
    const std::vector<T> momentum = values<T>(size(n), 3);
    std::vector<T> p = before, buffer = momentum;
    T* const state = buffer.data();
    table.update->step[0](p.data(), g.data(), &state, n, options);
    double squares = 0;
    for (std::size_t i = 0; i < size(n); ++i) {
      const double b = 0.9 * momentum[i] + g[i] + 0.01 * before[i];
      EXPECT_CLOSE(buffer[i], b, 1e-6);
      EXPECT_CLOSE(p[i], before[i] - 0.1 * b, 1e-6);
      squares += double(g[i]) * g[i];
    }
    EXPECT_CLOSE(table.update->sum_squares(g.data(), n), squares, 1e-6);
    EXPECT(table.update->all_finite(g.data(), n));
    for (std::size_t i = 0; i < size(n); ++i) {
      std::vector<T> broken = g;
      broken[i] = T(INFINITY);
      EXPECT(!table.update->all_finite(broken.data(), n));
    }
  }
}

/// One step of each rule, value by value.
template <class T>
void test_rules(const kernels::Table<T>& table) {
  UpdateOptions<T> o;
  o.lr = T(0.1);
  o.weight_decay = T(0.01);
  o.momentum = T(0.9);
  o.beta2 = T(0.75);
  o.rest1 = T(0.125);
  o.rest2 = T(0.25);
  o.eps = T(0.01);
  o.shrink = T(0.5);
  o.correction = T(2);
  o.amsgrad = o.centered = true;
  for (int rule = 1; rule < kernels::UpdateKernels<T>::rules; ++rule)
    for (const Index n : lengths(table.lanes)) {
      const std::vector<T> before = values<T>(size(n), 1), g = values<T>(size(n), 2);
      std::vector<T> p = before, states[3];
      T* pointers[3];
      for (int s = 0; s < 3; ++s) {
        states[s] = values<T>(size(n), 3 + s);
        for (T& value : states[s]) value = std::abs(value);
        pointers[s] = states[s].data();
      }
      const std::vector<T> old[3] = {states[0], states[1], states[2]};
      table.update->step[rule](p.data(), g.data(), pointers, n, o);
      for (std::size_t i = 0; i < size(n); ++i) {
        const double w = before[i], d = g[i] + 0.01 * w;
        double s0 = old[0][i], s1 = old[1][i], s2 = old[2][i], expected = 0;
        if (rule == 1) {
          s0 += 0.125 * (d - s0);
          s1 = 0.75 * s1 + 0.25 * d * d;
          s2 = std::max(s2, s1);
          expected = 0.5 * w - 0.1 * s0 / (2 * std::sqrt(s2) + 0.01);
        } else if (rule == 2) {
          s0 = 0.75 * s0 + 0.25 * d * d;
          s1 += 0.25 * (d - s1);
          s2 = 0.9 * s2 + d / (std::sqrt(std::max(s0 - s1 * s1, 0.0)) + 0.01);
          expected = w - 0.1 * s2;
        } else {
          s0 += d * d;
          expected = w - 0.1 * d / (std::sqrt(s0) + 0.01);
        }
        EXPECT_CLOSE(p[i], expected, 1e-4);
        EXPECT_CLOSE(states[0][i], s0, 1e-6);
        EXPECT_CLOSE(states[1][i], s1, 1e-6);
        EXPECT_CLOSE(states[2][i], s2, 1e-4);
      }
    }
  for (const Index n : lengths(table.lanes)) {
    const std::vector<T> x = values<T>(size(n), 1), before = values<T>(size(n), 2);
    std::vector<T> clipped = x, mean = before;
    table.update->clip(clipped.data(), n, T(0.25), T(3));
    table.update->average(mean.data(), x.data(), n, T(0.25));
    for (std::size_t i = 0; i < size(n); ++i) {
      EXPECT_CLOSE(clipped[i], 3 * std::clamp(x[i], T(-0.25), T(0.25)), 1e-6);
      EXPECT_CLOSE(mean[i], 0.75 * before[i] + 0.25 * x[i], 1e-6);
    }
  }
}

template <class T>
void test_softmax(const kernels::Table<T>& table) {
  for (Index channels = 1; channels <= 2 * table.lanes + 1; ++channels) {
    const Index rows = 3;
    const std::vector<T> x = values<T>(size(rows * channels), 1), z = values<T>(x.size(), 2);
    std::vector<T> y(x.size()), log_y(x.size()), dx(x.size()), from_x(x.size());
    table.softmax->softmax(x.data(), y.data(), rows, channels, channels);
    table.softmax->log_softmax(x.data(), log_y.data(), rows, channels, channels);
    for (Index r = 0; r < rows; ++r) {
      double sum = 0;
      for (Index c = 0; c < channels; ++c) sum += std::exp(double(x[size(r * channels + c)]));
      for (Index c = 0; c < channels; ++c) {
        const std::size_t i = size(r * channels + c);
        EXPECT_CLOSE(y[i], std::exp(double(x[i])) / sum, 1e-6);
        EXPECT_CLOSE(log_y[i], x[i] - std::log(sum), 1e-5);
      }
    }
    table.softmax->softmax_gradient(z.data(), x.data(), from_x.data(), rows, channels, channels);
    table.softmax->softmax_backward(z.data(), y.data(), dx.data(), rows, channels, channels);
    for (std::size_t i = 0; i < dx.size(); ++i) EXPECT_CLOSE(from_x[i], dx[i], 1e-6);
    table.softmax->log_softmax_gradient(z.data(), x.data(), from_x.data(), rows, channels,
                                        channels);
    table.softmax->log_softmax_backward(z.data(), log_y.data(), dx.data(), rows, channels,
                                        channels);
    for (std::size_t i = 0; i < dx.size(); ++i) EXPECT_CLOSE(from_x[i], dx[i], 1e-6);
  }
}

template <class T>
void test_pool(const kernels::Table<T>& table) {
  const Index stride = 2 * table.lanes;
  // Windows of 2 x 3 over 5 x 4 pixels, stride 2, padding 1.
  const kernels::PoolSpan depth{0, 1, 1, 1};
  const kernels::PoolSpan rows[]{{0, 1, 1, 2}, {1, 2, 1, 2}, {3, 2, 1, 2}};
  const kernels::PoolSpan columns[]{{0, 2, 1, 3}, {1, 3, 1, 3}};
  const kernels::PoolGeometry g{stride - 1, stride, {1, 5, 4}, {1, 3, 2}, {&depth, rows, columns}};
  const std::vector<T> x = values<T>(size(20 * stride), 1), dy = values<T>(size(6 * stride), 2);
  std::vector<T> y(dy.size()), dx(x.size());
  std::vector<std::int32_t> argmax(dy.size());
  table.pool->max_forward(g, x.data(), y.data(), argmax.data());
  for (Index o = 0; o < 6; ++o)
    for (Index c = 0; c < g.channels; ++c) {
      T largest = T(-INFINITY);
      for (Index i = 0; i < 6; ++i) {
        const Index row = o / 2 * 2 - 1 + i / 3, column = o % 2 * 2 - 1 + i % 3;
        if (row >= 0 && row < 5 && column >= 0 && column < 4)
          largest = std::max(largest, x[size((row * 4 + column) * stride + c)]);
      }
      EXPECT(y[size(o * stride + c)] == largest);
      EXPECT(x[size(argmax[size(o * stride + c)] * stride + c)] == largest);
    }
  table.pool->max_backward(g, dy.data(), argmax.data(), dx.data());
  table.pool->avg_forward(g, x.data(), y.data(), 0);
  for (Index c = 0; c < g.channels; ++c)
    EXPECT_CLOSE(y[size(c)] * 6, x[size(c)] + x[size(stride + c)], 1e-6);
  table.pool->avg_backward(g, dy.data(), dx.data(), 4);
  for (Index c = 0; c < g.channels; ++c) EXPECT_CLOSE(dx[size(c)] * 4, dy[size(c)], 1e-6);
}

/// Windows that tile the plane: every pixel's gradient is that of its window or 0.
template <class T>
void test_tiling_pool(const kernels::Table<T>& table, Index rows, Index columns) {
  const Index stride = 2 * table.lanes, planes = 2, windows = planes * 3 * 2;
  const Index pixels = windows * rows * columns;
  const kernels::PoolSpan depths[]{{0, 1, 1, 1}, {1, 1, 1, 1}};
  std::vector<kernels::PoolSpan> down, along;
  for (Index i = 0; i < 3; ++i) down.push_back({i * rows, rows, 1, rows});
  for (Index j = 0; j < 2; ++j) along.push_back({j * columns, columns, 1, columns});
  const kernels::PoolGeometry g{stride - 1,
                                stride,
                                {planes, 3 * rows, 2 * columns},
                                {planes, 3, 2},
                                {depths, down.data(), along.data()}};
  const std::vector<T> x = values<T>(size(pixels * stride), 1);
  const std::vector<T> dy = values<T>(size(windows * stride), 2);
  std::vector<T> y(dy.size()), alone(dy.size()), dx(x.size(), T(7)), mean_dx(x.size(), T(7));
  std::vector<std::int32_t> argmax(dy.size());
  table.pool->max_forward(g, x.data(), y.data(), argmax.data());
  table.pool->max_forward(g, x.data(), alone.data(), nullptr);
  table.pool->max_backward(g, dy.data(), argmax.data(), dx.data());
  table.pool->avg_backward(g, dy.data(), mean_dx.data(), 0);
  for (Index pixel = 0; pixel < pixels; ++pixel) {
    const Index row = pixel / (2 * columns), column = pixel % (2 * columns);
    const Index window = row / rows * 2 + column / columns;
    for (Index c = 0; c < g.channels; ++c) {
      const std::size_t at = size(pixel * stride + c), to = size(window * stride + c);
      EXPECT(x[at] <= y[to] && alone[to] == y[to]);
      EXPECT(dx[at] == (argmax[to] == pixel ? dy[to] : T(0)));
      EXPECT(argmax[to] != pixel || x[at] == y[to]);
      EXPECT_CLOSE(mean_dx[at] * T(rows * columns), dy[to], 1e-6);
    }
  }
}

/// A line of pixels gives the very numbers that its pixels give one by one.
template <class T>
void test_gemm_lines(const kernels::Table<T>& table) {
  const kernels::GemmKernels<T>& gemm = *table.gemm;
  for (Index channels = 0; channels <= kernels::longest_line; ++channels)
    for (const int spare : {0, 1, table.lanes - 1})
      for (const bool more : {false, true}) {
        const Index rows = gemm.line_rows[channels], taps = 2, lanes = table.lanes;
        if (rows == 0) continue;
        const std::vector<T> x = values<T>(size(3 + taps * (rows + channels)), 1);
        const std::vector<T> panel = values<T>(size(taps * channels * lanes), 2);
        const std::vector<T> bias = values<T>(size(lanes), 3);
        const T* const panels[] = {panel.data(), panel.data() + channels * lanes};
        const Index offsets[] = {0, rows + channels};
        std::vector<T> expected(size(rows * lanes), T(0.5)), got = expected;
        std::vector<const T*> from;
        std::vector<T*> one, line;
        for (Index r = 0; r < rows; ++r) {
          from.push_back(x.data() + 3 + r);
          one.push_back(expected.data() + r * lanes);
          line.push_back(got.data() + r * lanes);
        }
        kernels::GemmTile<T> a{};
        a.offsets = offsets;
        a.panels = panels;
        a.taps = taps;
        a.channels = channels;
        a.bias = more ? nullptr : bias.data();
        a.relu = !more;
        a.columns = table.lanes - spare;
        a.accumulate = more;
        for (Index r = 0; r < rows; ++r) {
          a.rows = &from[size(r)];
          a.out = &one[size(r)];
          gemm.tile(1, 1, a);
        }
        a.rows = from.data();
        a.out = line.data();
        gemm.line(a);
        EXPECT(got == expected);
        EXPECT(got != std::vector<T>(got.size(), T(0.5)));
      }
}

template <class T>
void test_gemm(const kernels::Table<T>& table) {
  const kernels::GemmKernels<T>& gemm = *table.gemm;
  const Index channels = 5;
  for (int vectors = 1; vectors <= gemm.tile_vectors; ++vectors)
    for (int rows = 1; rows <= gemm.tile_rows[vectors - 1]; ++rows)
      for (const int spare : {0, 1, table.lanes - 1}) {
        const int width = vectors * table.lanes, columns = width - spare;
        const std::vector<T> x = values<T>(size(rows * channels), 1);
        const std::vector<T> panel = values<T>(size(channels * width), 2);
        const std::vector<T> bias = values<T>(size(width), 3);
        std::vector<T> y(size(rows * columns));
        std::vector<const T*> from;
        std::vector<T*> to;
        for (int r = 0; r < rows; ++r) {
          from.push_back(x.data() + r * channels);
          to.push_back(y.data() + r * columns);
        }
        const T* panels[] = {panel.data()};
        const Index offsets[] = {0};
        gemm.tile(rows, vectors,
                  {from.data(), offsets, panels, 1, channels, 0, to.data(), 0, bias.data(), true,
                   columns});
        for (int r = 0; r < rows; ++r)
          for (int j = 0; j < columns; ++j) {
            double sum = bias[size(j)];
            for (Index c = 0; c < channels; ++c)
              sum += double(x[size(r * channels + c)]) * panel[size(c * width + j)];
            EXPECT_CLOSE(y[size(r * columns + j)], std::max(sum, 0.0), 1e-5);
          }
        const std::vector<T> before = y;
        kernels::GemmTile<T> more{from.data(), offsets, panels,  1,     channels, 0,
                                  to.data(),   0,       nullptr, false, columns};
        more.accumulate = true;
        gemm.tile(rows, vectors, more);
        for (int r = 0; r < rows; ++r)
          for (int j = 0; j < columns; ++j) {
            double sum = before[size(r * columns + j)];
            for (Index c = 0; c < channels; ++c)
              sum += double(x[size(r * channels + c)]) * panel[size(c * width + j)];
            EXPECT_CLOSE(y[size(r * columns + j)], sum, 1e-5);
          }
      }
  for (const Index n : lengths(table.lanes)) {
    const std::vector<T> x = values<T>(size(3 * n), 1);
    std::vector<T> sums(size(n)), total(size(n));
    gemm.column_sums(x.data(), 3, n, sums.data(), n, false);
    const T* parts[] = {x.data(), x.data() + n, x.data() + 2 * n};
    gemm.sum(parts, 3, 0, total.data(), n);
    for (std::size_t j = 0; j < size(n); ++j) {
      EXPECT_CLOSE(sums[j], x[j] + x[size(n) + j] + x[2 * size(n) + j], 1e-6);
      EXPECT_CLOSE(total[j], sums[j], 1e-6);
    }
  }
}

template <class T>
void test_loss(const kernels::Table<T>& table) {
  for (const Index n : lengths(table.lanes)) {
    const std::vector<T> x = values<T>(size(n), 1), t = values<T>(size(n), 2);
    std::vector<T> loss(size(n)), dx(size(n));
    double sum = 0;
    for (std::size_t i = 0; i < size(n); ++i) sum += std::abs(double(x[i]) - t[i]);
    double got = -1;
    PointwiseLossCall<T> call{};
    call.kind = PointwiseLoss::absolute;
    call.x = x.data();
    call.t = t.data();
    call.scale = 1;
    call.sum = &got;
    call.loss = loss.data();
    call.dx = dx.data();
    call.n = n;
    table.loss->pointwise(call);
    EXPECT_CLOSE(got, sum, 1e-6);
    if (n == 0) continue;
    double exponentials = 0;
    for (std::size_t i = 0; i < size(n); ++i) exponentials += std::exp(double(x[i]));
    const double row =
        table.loss->cross_entropy(x.data(), n, n - 1, nullptr, T(0), dx.data(), T(1));
    EXPECT_CLOSE(row, std::log(exponentials) - x[size(n - 1)], 1e-5);
  }
}

template <class T>
void test_all() {
  const kernels::Table<T>& table = kernel_table<T>();
  test_pointwise(table);
  test_layout(table);
  test_update(table);
  test_rules(table);
  test_softmax(table);
  test_pool(table);
  test_tiling_pool(table, 2, 2);
  test_tiling_pool(table, 2, 3);
  test_tiling_pool(table, 1, 2);
  test_gemm(table);
  test_gemm_lines(table);
  test_loss(table);
}

}  // namespace
}  // namespace piste

int main(int argc, char** argv) {
  return piste::test::run_on_isa(argc, argv, [] {
    piste::test_all<float>();
    piste::test_all<double>();
  });
}
