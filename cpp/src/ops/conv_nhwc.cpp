#include "ops/conv_nhwc.h"

#include "dispatch/dispatch.h"

namespace piste {
namespace {

constexpr double border_waste = 1.25;  // products per needed one that are worth a border

}  // namespace

template <class T>
Conv<T>::Conv(const ConvGeometry& geometry, bool leaves_out, bool gradients)
    : g_(geometry), leaves_out_(leaves_out), taps_(geometry.taps()) {
  const auto& table = kernel_table<T>();
  const Index lanes = table.lanes, panel = lanes * table.gemm->tile_vectors;
  const Index filters = g_.filters / g_.groups, channels = g_.channels / g_.groups;
  const Index padded = (g_.channels + lanes - 1) / lanes * lanes;
  const bool x_padded = g_.x_stride >= padded;  // whole vectors may be stored
  depthwise_ = g_.groups > 1 && g_.channels == g_.groups && g_.filters == g_.groups && x_padded &&
               g_.y_stride >= padded;
  if (depthwise_) {
    forward_ = backward_ = {1, g_.channels, 1, lanes, panel, taps_};
  } else {
    forward_ = {g_.groups, filters, channels, lanes, panel, taps_};
    backward_ = {g_.groups, channels, filters, lanes, panel, taps_};
  }
  pack_tasks_ = std::clamp<Index>(g_.filters * channels * taps_ / 4096, 1, 32);
  make_forward();
  if (gradients) make_backward();
  // One vector of channels that all taps find inside: fuller tiles than from the side of x.
  const bool inside = !x_border_.needed && g_.pad[0] + g_.pad[1] + g_.pad[2] == 0;
  spreads_ = gradients && x_padded && g_.x_stride % lanes == 0 && inside && g_.groups == 1 &&
             taps_ > 1 && backward_.padded() == backward_.lanes && backward_.depth <= longest_chain;
  if (spreads_) make_runs();
}

template <class T>
void Conv<T>::make_forward() {
  x_border_.stride = g_.x_stride;
  for (int axis = 0; axis < 3; ++axis) {
    const Index reach =
        (g_.out[axis] - 1) * g_.stride[axis] + g_.dilation[axis] * (g_.kernel[axis] - 1) + 1;
    x_border_.in[axis] = g_.in[axis];
    x_border_.low[axis] = g_.pad[axis];
    x_border_.extent[axis] = std::max(g_.in[axis] + g_.pad[axis], reach);
    x_border_.needed |= x_border_.extent[axis] != g_.in[axis];
    all_.first[axis] = 0;
    all_.step[axis] = 1;
    all_.count[axis] = g_.out[axis];
    all_.move[axis] = g_.stride[axis];
    for (Index k = 0; k < g_.kernel[axis]; ++k) all_.starts[axis].push_back(k * g_.dilation[axis]);
  }
  const Index* extent = x_border_.extent;
  for (Index d = 0; d < g_.kernel[0]; ++d)
    for (Index h = 0; h < g_.kernel[1]; ++h)
      for (Index w = 0; w < g_.kernel[2]; ++w) {
        all_.tap_ids.push_back(static_cast<Index>(all_.tap_ids.size()));
        all_.offsets.push_back(((d * g_.dilation[0] * extent[1] + h * g_.dilation[1]) * extent[2] +
                                w * g_.dilation[2]) *
                               g_.x_stride);
      }
  all_.run = forward_.depth;
  merge_taps(x_border_, all_,
             g_.groups == 1 && g_.x_stride == g_.channels && !leaves_out(x_border_));
}

/// Taps whose values stand one behind the other become one: rows of channels that are not padded.
template <class T>
void Conv<T>::merge_taps(const Border& border, Phase& phase, bool dense) const {
  if (!dense) return;
  Index merged = 1;  // taps along the innermost axes that stand contiguous
  for (int axis = 2; axis >= 0; --axis) {
    if (g_.kernel[axis] > 1 && g_.dilation[axis] != 1) break;
    merged *= g_.kernel[axis];
    if (g_.kernel[axis] != border.extent[axis]) break;
  }
  std::size_t kept = 0;
  for (std::size_t tap = 0; tap < phase.offsets.size(); tap += merged, ++kept) {
    phase.offsets[kept] = phase.offsets[tap];
    phase.tap_ids[kept] = phase.tap_ids[tap];
  }
  phase.offsets.resize(kept);
  phase.tap_ids.resize(kept);
  phase.run *= merged;
}

// Input position i = first + a * stride of a residue is reached by the kernel positions k with
// k * dilation % stride == residue, from output o = (i + pad - k * dilation) / stride = a + q(k).
template <class T>
std::vector<typename Conv<T>::AxisPart> Conv<T>::axis_parts(int axis, bool split) const {
  const Index stride = g_.stride[axis], out = g_.out[axis];
  std::vector<AxisPart> parts;
  for (Index residue = 0; residue < stride; ++residue) {
    AxisPart whole;
    whole.first = ((residue - g_.pad[axis]) % stride + stride) % stride;
    if (whole.first >= g_.in[axis]) continue;
    whole.count = (g_.in[axis] - whole.first + stride - 1) / stride;
    for (Index k = 0; k < g_.kernel[axis]; ++k)
      if (k * g_.dilation[axis] % stride == residue)
        whole.taps.push_back({k, (whole.first + g_.pad[axis] - k * g_.dilation[axis]) / stride});
    if (!split) {
      parts.push_back(whole);
      continue;
    }
    for (Index a = 0; a < whole.count; ++a) {  // runs of positions that the same taps reach
      AxisPart part{whole.first + a * stride, 1, {}};
      for (const auto& tap : whole.taps)
        if (a + tap.source >= 0 && a + tap.source < out)
          part.taps.push_back({tap.k, a + tap.source});
      const bool same = a > 0 && part.taps.size() == parts.back().taps.size() &&
                        std::equal(part.taps.begin(), part.taps.end(), parts.back().taps.begin(),
                                   [](const auto& x, const auto& y) { return x.k == y.k; });
      if (same)
        ++parts.back().count;
      else
        parts.push_back(part);
    }
  }
  return parts;
}

/// Products of which many would be with the zero border are split by the taps that reach a
/// position inside, and need no border then.
template <class T>
void Conv<T>::make_backward() {
  double all = 1, inside = 1;
  for (int axis = 0; axis < 3; ++axis) {
    double products[2] = {0, 0};
    for (const bool split : {false, true})
      for (const AxisPart& part : axis_parts(axis, split))
        products[split] += static_cast<double>(part.count) * static_cast<double>(part.taps.size());
    all *= products[0];
    inside *= products[1];
  }
  const bool split = all > border_waste * inside && !leaves_out_;
  std::vector<AxisPart> parts[3];
  dy_border_.stride = g_.y_stride;
  for (int axis = 0; axis < 3; ++axis) {
    parts[axis] = axis_parts(axis, split);
    Index lowest = 0, highest = g_.out[axis] - 1;
    for (const AxisPart& part : parts[axis])
      for (const auto& tap : part.taps) {
        lowest = std::min(lowest, tap.source);
        highest = std::max(highest, tap.source + part.count - 1);
      }
    dy_border_.in[axis] = g_.out[axis];
    dy_border_.low[axis] = -lowest;
    dy_border_.extent[axis] = highest - lowest + 1;
    dy_border_.needed |= dy_border_.extent[axis] != g_.out[axis];
  }
  const Index *extent = dy_border_.extent, *low = dy_border_.low;
  for (const AxisPart& d : parts[0])
    for (const AxisPart& h : parts[1])
      for (const AxisPart& w : parts[2]) {
        Phase phase;
        const AxisPart* each[3] = {&d, &h, &w};
        for (int axis = 0; axis < 3; ++axis) {
          phase.first[axis] = each[axis]->first;
          phase.count[axis] = each[axis]->count;
          phase.step[axis] = g_.stride[axis];
          phase.move[axis] = 1;
          for (const auto& tap : each[axis]->taps)
            phase.starts[axis].push_back(tap.source + low[axis]);
        }
        for (const auto& z : d.taps)
          for (const auto& y : h.taps)
            for (const auto& x : w.taps) {
              phase.tap_ids.push_back((z.k * g_.kernel[1] + y.k) * g_.kernel[2] + x.k);
              phase.offsets.push_back(
                  (((z.source + low[0]) * extent[1] + y.source + low[1]) * extent[2] + x.source +
                   low[2]) *
                  g_.y_stride);
            }
        phase.run = backward_.depth;
        phases_.push_back(std::move(phase));
      }
}

template <class T>
Index Conv<T>::scratch_bytes() const {
  Index border = 0;  // with a vector that may be read past the end
  for (const Border* b : {&x_border_, &dy_border_})
    if (b->needed) border = std::max(border, b->samples(1 << 20) * b->pixels() * b->stride + 64);
  border = std::max(border, spread_values());
  return Index(round_up(pointers(), alignment)) + border * Index(sizeof(T));
}

/// Bytes of the scratch's pointers and offsets.
template <class T>
std::size_t Conv<T>::pointers() const {
  return static_cast<std::size_t>(5 * range_pixels + 3 * taps_) * sizeof(T*);
}

template <class T>
typename Conv<T>::Scratch Conv<T>::carve(void* scratch) const {
  Scratch s;
  s.out = static_cast<T**>(scratch);
  s.rows = const_cast<const T**>(s.out + range_pixels);
  s.reach = reinterpret_cast<const Reach**>(s.rows + range_pixels);
  s.few_rows = reinterpret_cast<const T**>(s.reach + range_pixels);
  s.few_out = s.few_rows + range_pixels;
  s.panels = s.few_out + range_pixels;
  s.few_panels = s.panels + taps_;
  s.few_offsets = reinterpret_cast<Index*>(s.few_panels + taps_);
  s.border =
      reinterpret_cast<T*>(static_cast<std::byte*>(scratch) + round_up(pointers(), alignment));
  return s;
}

/// The tiles of one vector whose rows are one value apart, as far as they are: a line's last tile
/// begins earlier rather than end behind it, and some pixels are computed twice, with one result.
template <class T>
void Conv<T>::run_lines(kernels::GemmTile<T>& tile, Index line_rows, Index pixels,
                        const Scratch& s) const {
  const auto& kernels = *kernel_table<T>().gemm;
  for (Index row = 0, end; row < pixels; row = end) {
    for (end = row + 1; end < pixels && s.rows[end] == s.rows[end - 1] + 1;) ++end;
    const bool line = end - row >= line_rows;
    if (!line) end = std::min<Index>(row + kernels.tile_rows[0], pixels);
    for (Index first = row; first < end; first += line_rows) {
      const Index at = line ? std::min(first, end - line_rows) : first;
      tile.rows = s.rows + at;
      tile.out = s.out + at;
      if (line)
        kernels.line(tile);
      else
        kernels.tile(static_cast<int>(std::min(end - at, line_rows)), 1, tile);
    }
  }
}

/// All columns of `pixels` rows, whose source and output pointers stand in s. A panel serves all
/// tiles before the next one is read.
template <class T>
void Conv<T>::run_tiles(const Product& product, const Phase& phase, const T* packed, const T* bias,
                        bool relu, Index out_stride, Index pixels, const Scratch& s,
                        bool finite) const {
  const bool leave_out = finite && !phase.reach.empty();
  if (depthwise_) return run_depthwise(phase, packed, bias, relu, pixels, s);
  const auto& kernels = *kernel_table<T>().gemm;
  const Index taps = static_cast<Index>(phase.offsets.size());
  const Index channel_chunks = std::max<Index>((phase.run + longest_chain - 1) / longest_chain, 1);
  const Index tap_chunks = std::clamp<Index>((taps * phase.run + longest_chain - 1) / longest_chain,
                                             1, std::max<Index>(taps, 1));
  int rows_of[range_pixels], tile_rows = 0;  // of each tile
  for (Index group = 0; group < product.groups; ++group)
    for (Index block = 0; block < product.blocks(); ++block) {
      const Index width = product.width(block), first = block * product.panel;
      kernels::GemmTile<T> tile;
      tile.first_column = group * product.columns + first;
      // Whole vectors may end in the columns of the next groups, which are computed later.
      const bool whole = tile.first_column + width <= out_stride;
      tile.columns = static_cast<int>(whole ? width : std::min(width, product.columns - first));
      const int vectors = static_cast<int>(width / product.lanes);
      if (kernels.tile_rows[vectors - 1] != tile_rows) {
        tile_rows = kernels.tile_rows[vectors - 1];
        for (Index row = 0, t = 0; row < pixels; row += rows_of[t++]) {
          const Index rows = std::min<Index>(tile_rows, pixels - row);
          rows_of[t] = static_cast<int>(leave_out ? rows_together(s.reach + row, rows) : rows);
        }
      }
      const bool lines = !leave_out && vectors == 1 && phase.run <= kernels::longest_line;
      const Index line_rows = lines ? kernels.line_rows[phase.run] : 0;
      for (Index chunk = 0; chunk < tap_chunks * channel_chunks; ++chunk) {
        const Index tap = taps * (chunk / channel_chunks) / tap_chunks;
        const Index channel = phase.run * (chunk % channel_chunks) / channel_chunks;
        tile.taps = taps * (chunk / channel_chunks + 1) / tap_chunks - tap;
        tile.channels = phase.run * (chunk % channel_chunks + 1) / channel_chunks - channel;
        for (Index t = 0; t < tile.taps; ++t)
          s.panels[t] = packed + product.offset(group, block) +
                        (phase.tap_ids[tap + t] * product.depth + channel) * width;
        tile.offsets = phase.offsets.data() + tap;
        tile.panels = s.panels;
        tile.first_channel = group * product.depth + channel;
        tile.accumulate = chunk > 0;
        tile.bias = bias && chunk == 0 ? bias + tile.first_column : nullptr;
        tile.relu = relu && chunk + 1 == tap_chunks * channel_chunks;
        if (line_rows) {
          run_lines(tile, line_rows, pixels, s);
          continue;
        }
        for (Index row = 0, t = 0; row < pixels; row += rows_of[t++]) {
          tile.rows = s.rows + row;
          tile.out = s.out + row;
          const int rows = rows_of[t];
          kernels.tile(rows, vectors,
                       leave_out ? without_zeros(phase, tile, tap, rows, s.reach + row, s) : tile);
        }
      }
    }
}

template <class T>
typename Conv<T>::Lines Conv<T>::source_lines(const Lines& lines) const {
  if (g_.out[0] > 1 || g_.kernel[0] > 1) return {0, g_.in[0] * g_.in[1]};
  const Index first = lines.first * g_.stride[1] - g_.pad[1];
  const Index reach =
      (lines.end - 1 - lines.first) * g_.stride[1] + g_.dilation[1] * (g_.kernel[1] - 1) + 1;
  return {std::clamp<Index>(first, 0, g_.in[1]), std::clamp<Index>(first + reach, 0, g_.in[1])};
}

template <class T>
void Conv<T>::forward(const T* x, const T* packed, const T* bias, bool relu, T* y, Index n,
                      const Lines& lines, void* scratch, bool finite) const {
  const Scratch s = carve(scratch);
  const bool whole = lines.end - lines.first == g_.out[0] * g_.out[1];
  const Index samples = x_border_.needed ? x_border_.samples(n) : std::max<Index>(n, 1);
  for (Index sample = 0; sample < n; sample += samples) {
    const Index count = std::min(samples, n - sample);
    const T* from = x + sample * x_border_.in_pixels() * g_.x_stride;
    T* to = y + sample * g_.out_pixels() * g_.y_stride;
    if (x_border_.needed) {
      const bool all = whole || x_border_.extent[0] > 1;
      copy_bordered(x_border_, from, count, s.border, all ? 0 : lines.first * g_.stride[1],
                    all ? x_border_.extent[1]
                        : (lines.end - 1) * g_.stride[1] + g_.dilation[1] * (g_.kernel[1] - 1) + 1);
      from = s.border;
    }
    const auto run = [&](Index pixels) {
      run_tiles(forward_, all_, packed, bias, relu, g_.y_stride, pixels, s, finite);
    };
    if (whole) {
      for (Index p = 0; p < count * all_.pixels(); p += range_pixels) {
        const Index pixels = std::min(range_pixels, count * all_.pixels() - p);
        point_across(all_, x_border_.pixels() * g_.x_stride, from, g_.out_pixels() * g_.y_stride,
                     to, p, pixels, count, s);
        run(pixels);
      }
      continue;
    }
    Index pixels = 0;  // that are pointed to
    for (Index p = 0; p < all_.pixels(); ++p) {
      if (all_.lines[p] < lines.first || all_.lines[p] >= lines.end) continue;
      s.rows[pixels] = from + all_.sources[p];
      s.out[pixels] = to + all_.targets[p];
      if (!all_.reach.empty()) s.reach[pixels] = &all_.reach[all_.reach_of[p]];
      if (++pixels < range_pixels) continue;
      run(pixels);
      pixels = 0;
    }
    if (pixels > 0) run(pixels);
  }
}

template <class T>
void Conv<T>::backward_data(const T* dy, const T* packed, T* dx, Index begin, Index end,
                            void* scratch, Index part, Index parts, bool finite) const {
  const Scratch s = carve(scratch);
  if (spreads_ && parts == 1)
    return spread(dy + begin * g_.out_pixels() * g_.y_stride, packed,
                  dx + begin * g_.in_pixels() * g_.x_stride, end - begin, s);
  const Index samples = dy_border_.needed ? dy_border_.samples(end - begin) : end - begin;
  for (Index sample = begin; sample < end; sample += samples) {
    const Index count = std::min(samples, end - sample);
    const T* from = dy + sample * g_.out_pixels() * g_.y_stride;
    if (dy_border_.needed) {
      copy_bordered(dy_border_, from, count, s.border, 0, dy_border_.extent[1]);
      from = s.border;
    }
    for (const Phase& phase : phases_) {
      const Index total = count * phase.pixels();
      const Index last = total * (part + 1) / parts;
      for (Index first = total * part / parts; first < last; first += range_pixels) {
        const Index pixels = std::min(range_pixels, last - first);
        point_across(phase, dy_border_.pixels() * g_.y_stride, from, g_.in_pixels() * g_.x_stride,
                     dx + sample * g_.in_pixels() * g_.x_stride, first, pixels, count, s);
        run_tiles(backward_, phase, packed, nullptr, false, g_.x_stride, pixels, s, finite);
      }
    }
  }
}

template class Conv<float>;
template class Conv<double>;

}  // namespace piste
