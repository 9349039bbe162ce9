// Attention backward: 16 keys side by side in the lanes, queries one after another; the scores are made again from lse.
// A task is one sequence and key head with all its query heads, so dq, dk and dv have one writer each.
#include <omp.h>

#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/panel.h"
#include "kernels/cpu/vector_math.h"

namespace shardora::cpu {
namespace {

// 16 keys, transposed: one row a feature.
struct Keys {
  std::vector<PanelRow> k, v, dk, dv;  // [head_dim]
  Range positions;
};

struct Scratch {
  Keys panels[kTile / kPanel];
  std::vector<PanelRow> k;   // [keys of the tile, head_dim padded to panels]: the right-hand side of dq
  std::vector<float> delta;  // [query heads of the group, queries]
  alignas(64) float p[kTile][kPanel];
  alignas(64) float ds[kTile][kTile];
};

// One sequence and key head.
struct Group {
  const AttentionBackward& op;
  Sequence sequence;
  std::int64_t kv_head;
  std::int64_t dim = op.forward.q.size(2);
  std::int64_t heads = op.forward.q.size(1);
  std::int64_t head_count = heads / op.forward.k.size(1);  // query heads of the group
  std::int64_t q_stride = heads * dim;                     // from token to token
  std::int64_t k_stride = op.forward.k.size(1) * dim;

  // Query i of the group's head h; key j. All within the sequence.
  std::int64_t query_at(std::int64_t i, std::int64_t h) const {
    return (sequence.queries.first + i) * q_stride + (kv_head * head_count + h) * dim;
  }
  std::int64_t key_at(std::int64_t j) const { return (sequence.keys.first + j) * k_stride + kv_head * dim; }
  float lse(std::int64_t i, std::int64_t h) const {
    return op.forward.lse.as<float>()[(sequence.queries.first + i) * heads + kv_head * head_count + h];
  }
  std::int64_t query_count() const { return sequence.queries.count(); }
  std::int64_t panels_of_dim() const { return (dim + kPanel - 1) / kPanel; }
};

float dot(const float* x, const float* y, std::int64_t count) {
  PanelRow sums{};
  std::int64_t i = 0;
  for (; i + kPanel <= count; i += kPanel) {
    for (int lane = 0; lane < kPanel; ++lane) sums.x[lane] += x[i + lane] * y[i + lane];
  }
  for (int lane = 0; i + lane < count; ++lane) sums.x[lane] += x[i + lane] * y[i + lane];
  float total = 0;
  for (const float sum : sums.x) total += sum;
  return total;
}

// delta, and dq = 0.
void start_queries(const Group& group, Scratch& scratch) {
  const float* const o = group.op.forward.o.as<float>();
  const float* const d_o = group.op.d_o.as<float>();
  scratch.delta.resize(static_cast<std::size_t>(group.head_count * group.query_count()));
  float* delta = scratch.delta.data();
  for (std::int64_t h = 0; h < group.head_count; ++h) {
    for (std::int64_t i = 0; i < group.query_count(); ++i) {
      const std::int64_t at = group.query_at(i, h);
      *delta++ = dot(o + at, d_o + at, group.dim);
      std::fill_n(group.op.dq.as<float>() + at, group.dim, 0.0F);
    }
  }
}

void load_panel(const Group& group, Range keys, Keys& panel) {
  const auto dim = static_cast<std::size_t>(group.dim);
  panel.positions = keys;
  panel.k.assign(dim, PanelRow{});
  panel.v.assign(dim, PanelRow{});
  panel.dk.assign(dim, PanelRow{});
  panel.dv.assign(dim, PanelRow{});
  for (std::int64_t j = 0; j < keys.count(); ++j) {
    const float* const k = group.op.forward.k.as<float>() + group.key_at(keys.first + j);
    const float* const v = group.op.forward.v.as<float>() + group.key_at(keys.first + j);
    for (std::size_t d = 0; d < dim; ++d) panel.k[d].x[j] = k[d];
    for (std::size_t d = 0; d < dim; ++d) panel.v[d].x[j] = v[d];
  }
}

void load_tile(const Group& group, Range tile, Scratch& scratch) {
  for (std::int64_t p = 0; tile.first + p * kPanel < tile.last; ++p) {
    const std::int64_t first = tile.first + p * kPanel;
    load_panel(group, {first, std::min(first + kPanel, tile.last)}, scratch.panels[p]);
  }
  scratch.k.assign(static_cast<std::size_t>(tile.count() * group.panels_of_dim()), PanelRow{});
  for (std::int64_t j = 0; j < tile.count(); ++j) {
    std::copy_n(group.op.forward.k.as<float>() + group.key_at(tile.first + j), group.dim,
                scratch.k[static_cast<std::size_t>(j * group.panels_of_dim())].x);
  }
}

void store_panel(const Group& group, const Keys& panel) {
  for (std::int64_t j = 0; j < panel.positions.count(); ++j) {
    float* const dk = group.op.dk.as<float>() + group.key_at(panel.positions.first + j);
    float* const dv = group.op.dv.as<float>() + group.key_at(panel.positions.first + j);
    for (std::size_t d = 0; d < panel.dk.size(); ++d) dk[d] = panel.dk[d].x[j];
    for (std::size_t d = 0; d < panel.dv.size(); ++d) dv[d] = panel.dv[d].x[j];
  }
}

// A tile of one head's queries against a tile of keys.
struct Block {
  const Group& group;
  std::int64_t head;
  Range queries;
  Scratch& scratch;

  float* ds(std::int64_t i, std::int64_t panel) const { return scratch.ds[i - queries.first] + panel * kPanel; }
  float* p(std::int64_t i) const { return scratch.p[i - queries.first]; }
};

void hide_invisible(const Block& block, Range rows, const Keys& keys, std::int64_t panel) {
  const AttentionMask& mask = block.group.op.forward.mask;
  const std::int64_t shift = block.group.sequence.shift();
  const Range all = keys.positions;
  if (all_visible(mask, {shift + rows.first, shift + rows.last}, all)) return;
  for (std::int64_t i = rows.first; i < rows.last; ++i) {
    const Range seen = overlap(visible_keys(mask, {shift + i, shift + i + 1}, all.last), all);
    for (float* const row : {block.p(i), block.ds(i, panel)}) {
      std::fill(row, row + (seen.first - all.first), 0.0F);
      std::fill(row + (seen.last - all.first), row + kPanel, 0.0F);
    }
  }
}

// p = exp(score - lse), and ds = p (dp - delta) scale in place over dp; both 0 where the query does not see the key.
void softmax_backward(const Block& block, Range rows, const Keys& keys, std::int64_t panel) {
  const Group& group = block.group;
  const float* const delta = block.scratch.delta.data() + block.head * group.query_count();
  const float scale = group.op.forward.scale;
  for (std::int64_t i = rows.first; i < rows.last; ++i) {
    float* const p = block.p(i);
    float* const ds = block.ds(i, panel);
    const float lse = group.lse(i, block.head);
    for (int j = 0; j < kPanel; ++j) p[j] = fast_exp(scale * p[j] - lse);
    for (int j = 0; j < kPanel; ++j) ds[j] = p[j] * (ds[j] - delta[i]) * scale;
  }
  hide_invisible(block, rows, keys, panel);
}

void key_gradients(const Block& block, Keys& keys, std::int64_t panel) {
  const Group& group = block.group;
  const std::int64_t shift = group.sequence.shift();
  const Range all{shift + block.queries.first, shift + block.queries.last};
  const Range seeing = seeing_positions(group.op.forward.mask, keys.positions, all);
  const Range rows{seeing.first - shift, seeing.last - shift};
  for (std::int64_t i = block.queries.first; i < block.queries.last; ++i) {
    if (i < rows.first || i >= rows.last) std::fill_n(block.ds(i, panel), kPanel, 0.0F);
  }
  if (rows.count() == 0) return;
  const std::int64_t at = group.query_at(rows.first, block.head);
  const float* const q = group.op.forward.q.as<float>() + at;
  const float* const d_o = group.op.d_o.as<float>() + at;
  float* const p = block.p(rows.first);
  float* const ds = block.ds(rows.first, panel);
  const std::int64_t stride = group.q_stride;
  multiply_panel({.a = q,
                  .a_row = stride,
                  .a_inner = 1,
                  .b = keys.k[0].x,
                  .b_row = kPanel,
                  .c = p,
                  .c_row = kPanel,
                  .inner = group.dim,
                  .accumulate = false},
                 rows.count());
  multiply_panel({.a = d_o,
                  .a_row = stride,
                  .a_inner = 1,
                  .b = keys.v[0].x,
                  .b_row = kPanel,
                  .c = ds,
                  .c_row = kTile,
                  .inner = group.dim,
                  .accumulate = false},
                 rows.count());
  softmax_backward(block, rows, keys, panel);
  multiply_panel({.a = d_o,
                  .a_row = 1,
                  .a_inner = stride,
                  .b = p,
                  .b_row = kPanel,
                  .c = keys.dv[0].x,
                  .c_row = kPanel,
                  .inner = rows.count()},
                 group.dim);
  multiply_panel({.a = q,
                  .a_row = 1,
                  .a_inner = stride,
                  .b = ds,
                  .b_row = kTile,
                  .c = keys.dk[0].x,
                  .c_row = kPanel,
                  .inner = rows.count()},
                 group.dim);
}

void query_gradient(const Block& block, std::int64_t key_count) {
  const Group& group = block.group;
  float* const dq = group.op.dq.as<float>() + group.query_at(block.queries.first, block.head);
  for (std::int64_t d = 0; d < group.dim; d += kPanel) {
    multiply_panel({.a = block.ds(block.queries.first, 0),
                    .a_row = kTile,
                    .a_inner = 1,
                    .b = block.scratch.k[0].x + d,
                    .b_row = group.panels_of_dim() * kPanel,
                    .c = dq + d,
                    .c_row = group.q_stride,
                    .inner = key_count,
                    .width = std::min(kPanel, group.dim - d)},
                   block.queries.count());
  }
}

void run(const Group& group, Scratch& scratch) {
  start_queries(group, scratch);
  const std::int64_t shift = group.sequence.shift();
  const std::int64_t key_count = group.sequence.keys.count();
  for (std::int64_t k = 0; k < key_count; k += kTile) {
    const Range tile{k, std::min(k + kTile, key_count)};
    load_tile(group, tile, scratch);
    const Range seeing = seeing_positions(group.op.forward.mask, tile, {shift, key_count});
    const std::int64_t panels = (tile.count() + kPanel - 1) / kPanel;
    for (std::int64_t h = 0; h < group.head_count; ++h) {
      for (std::int64_t q = seeing.first - shift; q < seeing.last - shift; q += kTile) {
        const Block block{group, h, {q, std::min(q + kTile, seeing.last - shift)}, scratch};
        for (std::int64_t p = 0; p < panels; ++p) key_gradients(block, scratch.panels[p], p);
        query_gradient(block, tile.count());
      }
    }
    for (std::int64_t p = 0; p < panels; ++p) store_panel(group, scratch.panels[p]);
  }
}

}  // namespace

void attention_backward(const AttentionBackward& op) {
  check(op.forward);
  SHARDORA_CHECK(op.d_o.shape == op.forward.q.shape && op.dq.shape == op.forward.q.shape);
  SHARDORA_CHECK(op.dk.shape == op.forward.k.shape && op.dv.shape == op.forward.k.shape);
  const std::int64_t kv_heads = op.forward.k.size(1);
  const std::int64_t count = sequence_count(op.forward) * kv_heads;
  std::vector<Scratch> scratch(static_cast<std::size_t>(omp_get_max_threads()));
  // Dynamic, since sequences differ in length; who runs a task does not change its result.
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < count; ++i) {
    run(Group{op, sequence_of(op.forward, i / kv_heads), i % kv_heads},
        scratch[static_cast<std::size_t>(omp_get_thread_num())]);
  }
}

}  // namespace shardora::cpu
