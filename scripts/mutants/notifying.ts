/** Faults in what people learn who are not looking. */
import type { Mutant } from './try-mutant.ts';

const HOOKS = 'common/hooks.ts';
const HOOKS_TESTS = ['test/common/hooks.test.ts'];
const RUN_TESTS = ['test/end-to-end/hooks.test.ts'];
const METRICS_TESTS = ['test/end-to-end/metrics.test.ts'];

export const NOTIFYING: readonly Mutant[] = [
  {
    name: 'a command inherits the ticket',
    file: HOOKS,
    edits: [['{ DDT_TICKET: _ticket, ...inherited }', '{ ...inherited }']],
    tests: HOOKS_TESTS,
  },
  {
    name: 'a variable of a command has several lines',
    file: HOOKS,
    edits: [['return printable(redact(text).slice', 'return (redact(text).slice']],
    tests: HOOKS_TESTS,
  },
  {
    name: 'the same trouble calls again and again',
    file: HOOKS,
    edits: [['if (nowMs - (this.#reportedMs.get(key) ?? -Infinity) < TROUBLE_INTERVAL_MS) return;', '']],
    tests: HOOKS_TESTS,
  },
  {
    name: 'a command may have a terminal',
    file: HOOKS,
    edits: [['detached: true', 'detached: false']],
    tests: HOOKS_TESTS,
  },
  {
    name: 'a failure calls the command for the end of a copy',
    file: 'sender/run.ts',
    edits: [["isFinished ? 'unproven' : 'failed'", "'unproven'"]],
    tests: RUN_TESTS,
  },
  {
    name: 'an interruption counts as a failure',
    file: 'sender/run.ts',
    edits: [["if (error.kind !== 'interrupted') await tellEnd", 'await tellEnd']],
    tests: RUN_TESTS,
  },
  {
    name: 'a sender that stays away is not noticed',
    file: 'receiver/sender-gone.ts',
    edits: [['if (isReported || nowMs - aloneSinceMs < afterMs) return;', 'return;']],
    tests: RUN_TESTS,
  },
  {
    name: 'a figure that nobody knows is 0',
    file: 'common/watch/metrics.ts',
    edits: [['value === undefined ? [] : [', 'value === null ? [] : [']],
    tests: METRICS_TESTS,
  },
  {
    name: 'blocks that read back different are not counted',
    file: 'receiver/watch/target-watch.ts',
    edits: [['this.#badCounts[reason]++;', '']],
    tests: METRICS_TESTS,
  },
  {
    name: 'events are streamed only where they are printed',
    file: 'sender/display/reporter.ts',
    edits: [['    watch?.event(event);\n', '']],
    tests: METRICS_TESTS,
  },
  {
    name: 'the sender elsewhere reports its trouble to nobody',
    file: 'receiver/pull/far-sender.ts',
    edits: [['if (trouble !== undefined) this.#events.onTrouble(trouble);', '']],
    tests: ['test/end-to-end/pull-hooks.test.ts'],
  },
  {
    name: 'a response of the receiver has a member more than its document',
    file: 'receiver/http/transfer-routes.ts',
    edits: [['jsonResponse({ epoch: durability.epoch,', 'jsonResponse({ id: 1, epoch: durability.epoch,']],
    tests: ['test/receiver/http/openapi.test.ts'],
  },
];
