// Attention backward: 16 keys side by side in the lanes, queries one after another; the scores are made again from lse.
// A task is one sequence and key head with all its query heads, so dq, dk and dv have one writer each.
#include <omp.h>

#include "kernels/cpu/loops/attention_tiles.h"
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/panel.h"
#include "kernels/cpu/loops/vector_math.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

// 16 keys, transposed: one row a feature.
struct Keys {
  PanelRow *k, *v, *dk, *dv;  // [head_dim]
  Range positions;
};

constexpr std::int64_t kPanels = kTile / kPanel;

std::int64_t panels_for(std::int64_t count) { return (count + kPanel - 1) / kPanel; }

// What one thread works in, cut from `rows`.
struct Workspace {
  Keys panels[kPanels];
  PanelRow* k;              // [kTile, head_dim padded to panels], or pairs: the right-hand side of dq
  PanelRow* p;              // [kTile]
  PanelRow (*ds)[kPanels];  // [kTile]
  float* delta;             // [query heads of the group, queries]

  static std::int64_t rows_needed(std::int64_t dim, std::int64_t deltas) {
    return kPanels * 4 * dim + kTile * panels_for(dim) + kTile + kTile * kPanels + panels_for(deltas);
  }
  Workspace(PanelRow* rows, std::int64_t dim) {
    for (Keys& panel : panels) {
      for (PanelRow** part : {&panel.k, &panel.v, &panel.dk, &panel.dv}) {
        *part = rows;
        rows += dim;
      }
    }
    k = rows;
    p = k + kTile * panels_for(dim);
    ds = reinterpret_cast<PanelRow(*)[kPanels]>(p + kTile);
    delta = ds[kTile][0].x;
  }
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
  std::int64_t panels_of_dim() const { return panels_for(dim); }
  bool holds_pairs(std::int64_t keys) const { return dim <= kHalf && keys % 2 == 0; }
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
void start_queries(const Group& group, Workspace& work) {
  const float* const o = group.op.forward.o.as<float>();
  const float* const d_o = group.op.d_o.as<float>();
  float* delta = work.delta;
  for (std::int64_t h = 0; h < group.head_count; ++h) {
    for (std::int64_t i = 0; i < group.query_count(); ++i) {
      const std::int64_t at = group.query_at(i, h);
      *delta++ = dot(o + at, d_o + at, group.dim);
      std::fill_n(group.op.dq.as<float>() + at, group.dim, 0.0F);
    }
  }
}

void load_panel(const Group& group, Range keys, Keys& panel) {
  panel.positions = keys;
  for (PanelRow* const part : {panel.k, panel.v, panel.dk, panel.dv}) {
    std::fill_n(part[0].x, group.dim * kPanel, 0.0F);
  }
  for (std::int64_t j = 0; j < keys.count(); ++j) {
    const float* const k = group.op.forward.k.as<float>() + group.key_at(keys.first + j);
    const float* const v = group.op.forward.v.as<float>() + group.key_at(keys.first + j);
    for (std::int64_t d = 0; d < group.dim; ++d) panel.k[d].x[j] = k[d];
    for (std::int64_t d = 0; d < group.dim; ++d) panel.v[d].x[j] = v[d];
  }
}

void load_tile(const Group& group, Range tile, Workspace& work) {
  for (std::int64_t p = 0; tile.first + p * kPanel < tile.last; ++p) {
    const std::int64_t first = tile.first + p * kPanel;
    load_panel(group, {first, std::min(first + kPanel, tile.last)}, work.panels[p]);
  }
  std::fill_n(work.k[0].x, tile.count() * group.panels_of_dim() * kPanel, 0.0F);
  const bool pairs = group.holds_pairs(tile.count());
  for (std::int64_t j = 0; j < tile.count(); ++j) {
    const float* const k = group.op.forward.k.as<float>() + group.key_at(tile.first + j);
    if (pairs) {
      for (std::int64_t d = 0; d < group.dim; ++d) work.k[j / 2].x[2 * d + j % 2] = k[d];
    } else {
      std::copy_n(k, group.dim, work.k[j * group.panels_of_dim()].x);
    }
  }
}

void store_panel(const Group& group, const Keys& panel) {
  for (std::int64_t j = 0; j < panel.positions.count(); ++j) {
    float* const dk = group.op.dk.as<float>() + group.key_at(panel.positions.first + j);
    float* const dv = group.op.dv.as<float>() + group.key_at(panel.positions.first + j);
    for (std::int64_t d = 0; d < group.dim; ++d) dk[d] = panel.dk[d].x[j];
    for (std::int64_t d = 0; d < group.dim; ++d) dv[d] = panel.dv[d].x[j];
  }
}

// A tile of one head's queries against a tile of keys.
struct Block {
  const Group& group;
  std::int64_t head;
  Range queries;
  Workspace& work;

  float* ds(std::int64_t i, std::int64_t panel) const { return work.ds[i - queries.first][panel].x; }
  float* p(std::int64_t i) const { return work.p[i - queries.first].x; }
};

void hide_invisible(const Block& block, Range rows, const Keys& keys, std::int64_t panel) {
  const AttentionMask& mask = block.group.op.forward.mask;
  const std::int64_t shift = block.group.sequence.shift();
  const Range all = keys.positions;
  if (all_visible(mask, {shift + rows.first, shift + rows.last}, all)) return;
  for (std::int64_t i = rows.first; i < rows.last; ++i) {
    const Range seen = overlap(visible_keys(mask, {shift + i, shift + i + 1}, all.last), all);
    for (float* const row : {block.p(i), block.ds(i, panel)}) {
      keep_lanes(seen.first - all.first, seen.last - all.first, 0, row);
    }
  }
}

// p = exp(score - lse), and ds = p (dp - delta) scale in place over dp; both 0 where the query does not see the key.
void softmax_backward(const Block& block, Range rows, const Keys& keys, std::int64_t panel) {
  const Group& group = block.group;
  const float* const delta = block.work.delta + block.head * group.query_count();
  const float scale = group.op.forward.scale;
  for (std::int64_t i = rows.first; i < rows.last; ++i) {
    float* const p = block.p(i);
    float* const ds = block.ds(i, panel);
    const float lse = group.lse(i, block.head);
    const float delta_i = delta[i];
#pragma omp simd
    for (int j = 0; j < kPanel; ++j) {
      const float p_j = fast_exp_up_to_one(scale * p[j] - lse);
      p[j] = p_j;
      ds[j] = p_j * (ds[j] - delta_i) * scale;
    }
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
  if (group.holds_pairs(key_count)) {
    multiply_pairs({.a = block.ds(block.queries.first, 0),
                    .a_row = kTile,
                    .a_inner = 1,
                    .b = block.work.k[0].x,
                    .b_row = kPanel,
                    .c = dq,
                    .c_row = group.q_stride,
                    .inner = key_count,
                    .width = group.dim},
                   block.queries.count());
    return;
  }
  for (std::int64_t d = 0; d < group.dim; d += kPanel) {
    multiply_panel({.a = block.ds(block.queries.first, 0),
                    .a_row = kTile,
                    .a_inner = 1,
                    .b = block.work.k[0].x + d,
                    .b_row = group.panels_of_dim() * kPanel,
                    .c = dq + d,
                    .c_row = group.q_stride,
                    .inner = key_count,
                    .width = std::min(kPanel, group.dim - d)},
                   block.queries.count());
  }
}

void run(const Group& group, Workspace& work) {
  start_queries(group, work);
  const std::int64_t shift = group.sequence.shift();
  const std::int64_t key_count = group.sequence.keys.count();
  for (std::int64_t k = 0; k < key_count; k += kTile) {
    const Range tile{k, std::min(k + kTile, key_count)};
    load_tile(group, tile, work);
    const Range seeing = seeing_positions(group.op.forward.mask, tile, {shift, key_count});
    const std::int64_t panels = (tile.count() + kPanel - 1) / kPanel;
    for (std::int64_t h = 0; h < group.head_count; ++h) {
      for (std::int64_t q = seeing.first - shift; q < seeing.last - shift; q += kTile) {
        const Block block{group, h, {q, std::min(q + kTile, seeing.last - shift)}, work};
        for (std::int64_t p = 0; p < panels; ++p) key_gradients(block, work.panels[p], p);
        query_gradient(block, tile.count());
      }
    }
    for (std::int64_t p = 0; p < panels; ++p) store_panel(group, work.panels[p]);
  }
}

}  // namespace

void LevelLoops::attention_backward(const AttentionBackward& op) {
  check(op.forward);
  SHARDORA_CHECK(op.d_o.shape == op.forward.q.shape && op.dq.shape == op.forward.q.shape);
  SHARDORA_CHECK(op.dk.shape == op.forward.k.shape && op.dv.shape == op.forward.k.shape);
  const std::int64_t kv_heads = op.forward.k.size(1);
  const std::int64_t dim = op.forward.q.size(2);
  const std::int64_t deltas = op.forward.q.size(1) / kv_heads * longest(op.forward.query_offsets);
  const std::int64_t rows = Workspace::rows_needed(dim, deltas);
  auto* const memory = reinterpret_cast<PanelRow*>(scratch_.floats(omp_get_max_threads() * rows * kPanel));
#pragma omp parallel
  {
    Workspace work(memory + omp_get_thread_num() * rows, dim);
    // Dynamic, since sequences differ in length; who runs a task does not change its result.
#pragma omp for schedule(dynamic)
    for (std::int64_t i = 0; i < sequence_count(op.forward) * kv_heads; ++i) {
      run(Group{op, sequence_of(op.forward, i / kv_heads), i % kv_heads}, work);
    }
  }
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
