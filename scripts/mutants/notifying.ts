/** Faults in what people learn who are not looking. */
import type { Mutant } from './try-mutant.ts';

const HOOKS = 'common/hooks.ts';
const HOOKS_TESTS = ['test/common/hooks.test.ts'];
const RUN_TESTS = ['test/end-to-end/hooks.test.ts'];

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
];
