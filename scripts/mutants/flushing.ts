/** Faults in the order of flush, journal and published generation, and in what an error invalidates. */
import type { Mutant } from './try-mutant.ts';

const DURABILITY = 'receiver/durability/durability.ts';
const ORDER = ['test/receiver/durability/durability.test.ts'];
const FAULTS = ['test/receiver/durability/durability-faults.test.ts'];
const FLUSH = '      await this.#target.flush();\n';
const ABSENT = "      this.#table.set(index, 'absent');\n";
const RECORD = '    const isAnyDurable = await this.#recordFlushed(upTo);\n';
const STALE = '    if (epoch !== this.#epoch) throw failedDuringFlush();\n';

export const FLUSHING: readonly Mutant[] = [
  {
    name: 'the target is not flushed before the journal lists a block',
    file: DURABILITY,
    edits: [[FLUSH, '']],
    tests: ORDER,
  },
  {
    name: 'the journal is written before the flush',
    file: DURABILITY,
    edits: [
      [FLUSH, ''],
      [RECORD, `${RECORD}${FLUSH}`],
    ],
    tests: ORDER,
  },
  {
    name: 'the generation is published before the journal has committed',
    file: DURABILITY,
    edits: [[RECORD, `    this.#durableGeneration = upTo;\n${RECORD}`]],
    tests: ORDER,
  },
  {
    name: 'the generation that a flush covers is noted after it',
    file: DURABILITY,
    edits: [
      ['const upTo = this', 'let upTo = this'],
      [`${STALE}${RECORD}`, `${STALE}    upTo = this.#generation;\n${RECORD}`],
    ],
    tests: ORDER,
  },
  {
    name: 'a generation is published that the journal had no room for',
    file: DURABILITY,
    edits: [['        this.#flushSoon(JOURNAL_RETRY_MS);\n', '        return;\n']],
    tests: FAULTS,
  },
  {
    name: 'blocks are written while the journal cannot forget them',
    file: DURABILITY,
    edits: [['    if (this.#journalFull !== undefined) throw this.#journalFull;\n', '']],
    tests: FAULTS,
  },
  {
    name: 'a durable block is overwritten while the journal lists it',
    file: DURABILITY,
    edits: [['if (listed.length > 0) this', 'if (listed.length < 0) this']],
    tests: ORDER,
  },
  {
    name: 'a block that is being overwritten keeps its place among the written ones',
    file: DURABILITY,
    edits: [[`      this.#written.delete(index);\n${ABSENT}    }\n    return`, `${ABSENT}    }\n    return`]],
    tests: ORDER,
  },
  {
    name: 'a failed flush does not end the epoch',
    file: DURABILITY,
    edits: [['      this.#endEpoch(failure);\n', '']],
    tests: FAULTS,
  },
  {
    name: 'a failed flush of an ended epoch invalidates nothing of the next one',
    file: DURABILITY,
    edits: [
      ['      this.#endEpoch(failure);\n', '      if (epoch === this.#epoch) this.#endEpoch(failure);\n'],
    ],
    tests: FAULTS,
  },
  {
    name: 'a failed write does not end the epoch',
    file: DURABILITY,
    edits: [["if (error.code !== 'no-space' && permit", "if (error.code === 'no-space' && permit"]],
    tests: FAULTS,
  },
  {
    name: 'the end of an epoch keeps the blocks that were written',
    file: DURABILITY,
    edits: [['    this.#written.clear();\n', '']],
    tests: FAULTS,
  },
  {
    name: 'the end of an epoch keeps its name',
    file: DURABILITY,
    edits: [["void {\n    this.#epoch = randomBytes(8).toString('hex');\n", 'void {\n']],
    tests: FAULTS,
  },
  {
    name: 'a write of an ended epoch counts in the next one',
    file: DURABILITY,
    edits: [['if (permit.epoch !== this.#epoch) {', 'if (permit.epoch === undefined) {']],
    tests: FAULTS,
  },
  {
    name: 'a flush makes durable what a failed write has invalidated meanwhile',
    file: DURABILITY,
    edits: [[`${STALE}${RECORD}`, RECORD]],
    tests: FAULTS,
  },
  {
    name: 'a barrier joins the flush that is already running',
    file: 'receiver/durability/single-flight.ts',
    edits: [['    await this.#queued;', '    await (this.#running ?? this.#queued);']],
    tests: ['test/receiver/durability/single-flight.test.ts'],
  },
  {
    name: 'a receiver that is stopped does not flush',
    file: 'receiver/start.ts',
    edits: [['        await flushAll(all);\n', '']],
    tests: ['test/receiver/start.test.ts'],
  },
];
