#include "ops/winograd.h"

#include <cstring>

#include "dispatch/dispatch.h"
#include "ops/conv_choice.h"

namespace piste {
namespace {

// Tiles of a strip: enough to reuse each panel of weights from the cache beyond L2, few enough for
// the transformed tiles to stay in it.
constexpr Index strip_bytes = 384 << 10;
constexpr Index min_strip_tiles = 24;
constexpr Index chunk_channels = 16;  // whose weights are transposed at a time

Index parts(Index n, Index part) { return (n + part - 1) / part; }

}  // namespace

template <class T>
typename Winograd<T>::Pass Winograd<T>::forward_pass(const ConvGeometry& g) {
  return {g.channels, {g.in[1], g.in[2]},   {g.pad[1], g.pad[2]},
          g.filters,  {g.out[1], g.out[2]}, false};
}

template <class T>
typename Winograd<T>::Pass Winograd<T>::backward_pass(const ConvGeometry& g) {
  return {g.filters,  {g.out[1], g.out[2]}, {2 - g.pad[1], 2 - g.pad[2]},
          g.channels, {g.in[1], g.in[2]},   true};
}

template <class T>
bool Winograd<T>::takes(const ConvGeometry& g) {
  if (g.groups != 1 || g.in[0] != 1 || g.kernel[0] != 1 || g.out[0] != 1) return false;
  for (int axis : {1, 2})
    if (g.kernel[axis] != 3 || g.stride[axis] != 1 || g.dilation[axis] != 1 || g.pad[axis] > 2)
      return false;
  return true;
}

template <class T>
bool Winograd<T>::chosen(const ConvGeometry& g, Algorithm algorithm) {
  if (algorithm == Algorithm::winograd) return takes(g);
  using namespace conv_choice;
  return algorithm == Algorithm::automatic && takes(g) &&
         (std::min(g.channels, g.filters) >= winograd_channels ||
          (g.channels >= winograd_deep && g.filters >= winograd_filters));
}

template <class T>
int Winograd<T>::tile_size(const ConvGeometry& g) {
  const auto products = [&](Index m) {
    return parts(g.out[1], m) * parts(g.out[2], m) * (m + 2) * (m + 2);
  };
  return products(2) < products(4) ? 2 : 4;
}

template <class T>
Winograd<T>::Winograd(const Pass& pass, int m) : pass_(pass), m_(m) {
  const auto& table = kernel_table<T>();
  lanes_ = table.lanes;
  in_stride_ = parts(pass.in_channels, lanes_) * lanes_;
  out_stride_ = parts(pass.out_channels, lanes_) * lanes_;
  const Index vectors = out_stride_ / lanes_, most = table.winograd->tile_vectors;
  // Panels of two vectors rather than one single vector behind those of three.
  panel_ = lanes_ * (vectors % most == 1 && vectors % 2 == 0 ? std::min<Index>(most, 2) : most);
  high_ = parts(pass.out[0], m);
  wide_ = parts(pass.out[1], m);
  const Index tile_bytes = frequencies() * (in_stride_ + std::min<Index>(out_stride_, 64)) *
                           static_cast<Index>(sizeof(T));
  const Index wanted = std::max(strip_bytes / tile_bytes, min_strip_tiles);
  if (high_ * wide_ > wanted)
    rows_ = parts(high_, parts(high_ * wide_, wanted));
  else
    rows_ = high_, samples_ = std::max<Index>(wanted / std::max<Index>(high_ * wide_, 1), 1);
}

/// The weight gradient takes a few channels of all tiles at a time. Were the tiles a power of two
/// apart, those would share a fraction of the cache; few lines are taken whole.
template <class T>
Index Winograd<T>::tile_stride(Index channels) {
  constexpr Index line = 64 / Index(sizeof(T));
  const Index lines = channels / line;
  return channels % line == 0 && lines >= 16 && lines % 2 == 0 ? channels + line : channels;
}

template <class T>
Index Winograd<T>::strips(Index n) const {
  return parts(n, samples_) * parts(high_, rows_);
}

template <class T>
typename Winograd<T>::Strip Winograd<T>::strip(Index i, Index n) const {
  const Index per_sample = parts(high_, rows_);
  Strip s;
  s.sample = i / per_sample * samples_;
  s.samples = std::min(samples_, n - s.sample);
  s.row = i % per_sample * rows_;
  s.rows = std::min(rows_, high_ - s.row);
  s.tile = (s.sample * high_ + s.row) * wide_;
  s.tiles = s.samples * s.rows * wide_;
  return s;
}

template <class T>
Index Winograd<T>::border_values() const {
  return samples_ * (rows_ * m_ + 2) * (wide_ * m_ + 2) * in_stride_;
}

/// The strip's lines of one sample: zeros, and copy(y, to, pixels) of line y of the input between
/// them. Returns where the next sample's begin.
template <class T>
template <class Copy>
T* Winograd<T>::border_lines(const Strip& strip, T* border, Copy copy) const {
  const Index width = (wide_ * m_ + 2) * in_stride_, left = pass_.pad[1] * in_stride_;
  const Index line = std::min(pass_.in[1] * in_stride_, width - left);
  for (Index i = 0; i < strip.rows * m_ + 2; ++i, border += width) {
    const Index y = strip.row * m_ + i - pass_.pad[0];
    if (y < 0 || y >= pass_.in[0]) {
      std::memset(border, 0, width * sizeof(T));
      continue;
    }
    std::memset(border, 0, left * sizeof(T));
    copy(y, border + left, line / in_stride_);
    std::memset(border + left + line, 0, (width - left - line) * sizeof(T));
  }
  return border;
}

template <class T>
void Winograd<T>::border_from_planes(const T* nchw, const Strip& strip, T* border,
                                     T* scratch) const {
  const auto& layout = *kernel_table<T>().layout;
  const Index pixels = pass_.in[0] * pass_.in[1], channels = pass_.in_channels;
  for (Index i = 0; i < strip.samples; ++i) {
    const T* from = nchw + (strip.sample + i) * channels * pixels;
    if (strip.rows < high_) {
      border = border_lines(strip, border, [&](Index y, T* to, Index count) {
        layout.transpose(from + y * pass_.in[1], pixels, to, in_stride_, channels, count,
                         in_stride_);
      });
      continue;
    }
    // Whole samples may have lines too short to transpose one by one.
    layout.transpose(from, pixels, scratch, in_stride_, channels, pixels, in_stride_);
    border = border_lines(strip, border, [&](Index y, T* to, Index count) {
      std::memcpy(to, scratch + y * pass_.in[1] * in_stride_, count * in_stride_ * sizeof(T));
    });
  }
}

template <class T>
void Winograd<T>::border_from_rows(const T* rows, Index stride, const Strip& strip,
                                   T* border) const {
  for (Index sample = strip.sample; sample < strip.sample + strip.samples; ++sample)
    border = border_lines(strip, border, [&](Index y, T* to, Index count) {
      const T* from = rows + (sample * pass_.in[0] + y) * pass_.in[1] * stride;
      if (stride == in_stride_)
        std::memcpy(to, from, count * stride * sizeof(T));
      else
        for (Index x = 0; x < count; ++x)
          std::memcpy(to + x * in_stride_, from + x * stride, in_stride_ * sizeof(T));
    });
}

template <class T>
void Winograd<T>::transform(const T* border, const Strip& strip, T* v, Index frequency) const {
  const auto& kernels = *kernel_table<T>().winograd;
  const Index line = (wide_ * m_ + 2) * in_stride_, sample = (strip.rows * m_ + 2) * line;
  for (Index i = 0; i < strip.samples; ++i)
    for (Index row = 0; row < strip.rows; ++row)
      for (Index column = 0; column < wide_; ++column, v += v_stride())
        kernels.data(m_, border + i * sample + row * m_ * line + column * m_ * in_stride_, line,
                     in_stride_, in_stride_, v, frequency);
}

template <class T>
Index Winograd<T>::panels() const {
  return parts(out_stride_, panel_);
}
template <class T>
Index Winograd<T>::panel_width(Index panel) const {
  return std::min(panel_, out_stride_ - panel * panel_);
}
template <class T>
Index Winograd<T>::panel_offset(Index panel) const {
  return panel * frequencies() * panel_frequency(0);
}

template <class T>
void Winograd<T>::pack(const T* weight, Index panel, T* packed) const {
  const auto& table = kernel_table<T>();
  const Index width = panel_width(panel), first = panel * panel_;
  const Index frequency = panel_frequency(panel);
  const Index valid = std::min(width, pass_.out_channels - first), depth = pass_.in_channels;
  alignas(alignment) T buffer[chunk_channels * 9 * 64];
  if (pass_.backward) {
    for (Index k = 0; k < depth; ++k) {
      table.layout->transpose(weight + (k * pass_.out_channels + first) * 9, 9, buffer, width,
                              valid, 9, width);
      table.winograd->weight(m_, buffer + 8 * width, -width, width, packed + k * width, frequency);
    }
    return;
  }
  for (Index c = 0; c < depth; c += chunk_channels) {
    const Index count = std::min(chunk_channels, depth - c);
    table.layout->transpose(weight + (first * depth + c) * 9, depth * 9, buffer, width, valid,
                            count * 9, width);
    for (Index i = 0; i < count; ++i)
      table.winograd->weight(m_, buffer + i * 9 * width, width, width, packed + (c + i) * width,
                             frequency);
  }
}

template <class T>
void Winograd<T>::multiply(const T* v, Index v_frequency, const T* packed, Index first, Index last,
                           T* s, Index s_frequency, Index s_stride, Index tiles) const {
  const auto& kernels = *kernel_table<T>().winograd;
  const Index depth = pass_.in_channels;
  for (Index f = 0; f < frequencies(); ++f)
    for (Index panel = first; panel < last; ++panel) {
      const Index width = panel_width(panel);
      const T* u = packed + panel_offset(panel) - panel_offset(first) + f * panel_frequency(panel);
      kernels.multiply(static_cast<int>(width / lanes_), v + f * v_frequency, v_stride(), u,
                       s + f * s_frequency + (panel - first) * panel_, s_stride, tiles, depth);
    }
}

template <class T>
bool Winograd<T>::finish(const T* s, Index frequency, Index s_stride, const Strip& strip,
                         Index channels, const T* bias, bool relu, T* rows, Index stride) const {
  const auto& kernels = *kernel_table<T>().winograd;
  const Index lines = std::min(strip.rows * m_, pass_.out[0] - strip.row * m_);
  const Index line = pass_.out[1] * stride;
  bool sound = true;
  for (Index i = 0; i < strip.samples; ++i)
    for (Index row = 0; row < strip.rows; ++row)
      for (Index column = 0; column < wide_; ++column, s += s_stride) {
        T* to = rows + (i * lines + row * m_) * line + column * m_ * stride;
        sound &= kernels.result(m_, s, frequency, channels, bias, relu, to, line, stride,
                                static_cast<int>(std::min<Index>(m_, lines - row * m_)),
                                static_cast<int>(std::min<Index>(m_, pass_.out[1] - column * m_)));
      }
  return sound;
}

template <class T>
void Winograd<T>::transform_gradient(const T* rows, Index stride, const Strip& strip, T* z,
                                     Index frequency) const {
  const auto& kernels = *kernel_table<T>().winograd;
  const Index lines = std::min(strip.rows * m_, pass_.out[0] - strip.row * m_);
  const Index line = pass_.out[1] * stride;
  for (Index i = 0; i < strip.samples; ++i)
    for (Index row = 0; row < strip.rows; ++row)
      for (Index column = 0; column < wide_; ++column, z += z_stride())
        kernels.result_gradient(
            m_, rows + (i * lines + row * m_) * line + column * m_ * stride, line, stride,
            out_stride_, static_cast<int>(std::min<Index>(m_, lines - row * m_)),
            static_cast<int>(std::min<Index>(m_, pass_.out[1] - column * m_)), z, frequency);
}

template <class T>
void Winograd<T>::multiply_gradient(const T* v, Index v_frequency, const T* z, Index z_frequency,
                                    Index tiles, T* u, bool accumulate) const {
  const auto& kernels = *kernel_table<T>().winograd;
  for (Index f = 0; f < frequencies(); ++f)
    kernels.multiply_gradient(v + f * v_frequency, v_stride(), pass_.in_channels,
                              z + f * z_frequency, z_stride(), out_stride_, u + f * u_frequency(),
                              out_stride_, tiles, accumulate);
}

template <class T>
Index Winograd<T>::first_pixel(const Strip& strip) const {
  return (strip.sample * pass_.out[0] + strip.row * m_) * pass_.out[1];
}
template <class T>
Index Winograd<T>::strip_pixels(const Strip& strip) const {
  return strip.samples * std::min(strip.rows * m_, pass_.out[0] - strip.row * m_) * pass_.out[1];
}

template <class T>
void Winograd<T>::unpack_gradient(const T* u, Index channel, Index channels, Index filter,
                                  Index filters, Index u_stride, Index u_frequency,
                                  T* gradient) const {
  const auto& table = kernel_table<T>();
  const Index depth = pass_.in_channels;
  alignas(alignment) T buffer[chunk_channels * 9 * 64];
  for (Index k = 0; k < filters; k += 64)
    for (Index c = 0; c < channels; c += chunk_channels) {
      const Index count = std::min(chunk_channels, channels - c);
      const Index width = std::min<Index>(64, filters - k);
      const Index padded = parts(width, lanes_) * lanes_;
      for (Index i = 0; i < count; ++i)
        table.winograd->weight_gradient(m_, u + (c + i) * u_stride + k, u_frequency, padded,
                                        buffer + i * 9 * 64, 64);
      table.layout->transpose(buffer, 64, gradient + ((filter + k) * depth + channel + c) * 9,
                              depth * 9, count * 9, width, count * 9);
    }
}

template class Winograd<float>;
template class Winograd<double>;

}  // namespace piste
