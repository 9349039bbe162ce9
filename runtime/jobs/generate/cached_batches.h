// The batches of a group of prompts: first the prompts whole, then one token of each continuation under way. Each beam
// of each prompt has rows of the cache of its own, one after another:
//
//   prompt 0 beam 0 | prompt 0 beam 1 | … | prompt 1 beam 0 | …       a beam: one row for each position
#pragma once

#include <span>
#include <vector>

#include "runtime/data/batch.h"
#include "runtime/model/kv_cache.h"

namespace shardora {

struct CachedBatch {
  Batch batch;  // every row or, of whole prompts, every last row predicts
  CachePlaces places;
};

class CachedBatches {
 public:
  struct Prompt {
    std::span<const std::int32_t> tokens;  // not owned
    std::int64_t rows = 0;                 // of the cache, for each beam
  };
  struct Row {
    std::int64_t prompt = 0, beam = 0;
    std::int32_t token = 0;
    std::int64_t position = 0;
  };
  // Begins a group. Valid until the next call, as is next()'s answer.
  const CachedBatch& start(std::span<const Prompt> prompts, std::int64_t beams);
  // Rows ascend by prompt and beam.
  const CachedBatch& next(std::span<const Row> rows);
  // Of the cache.
  std::int64_t row(std::int64_t prompt, std::int64_t beam, std::int64_t position) const;

 private:
  void clear();
  void append(std::int32_t token, std::int64_t position, std::int64_t cache_row);
  void predict_from_last();
  std::vector<std::int64_t> first_rows_, rows_of_beam_;  // of each prompt
  CachedBatch cached_;
};

}  // namespace shardora
