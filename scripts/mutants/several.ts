/** Faults in what transfers of one process have to do with each other, and in several disks of one run. */
import type { Mutant } from './try-mutant.ts';

const TARGETS_TESTS = ['test/end-to-end/several-targets.test.ts'];
const START_TESTS = ['test/receiver/several-targets.test.ts'];
const APP_TESTS = ['test/receiver/http/other-transfers.test.ts'];
const DISKS = 'sender/several-disks.ts';
const DISKS_TESTS = ['test/sender/several-disks.test.ts'];

export const SEVERAL: readonly Mutant[] = [
  {
    name: 'a token of another transfer is accepted',
    file: 'common/trust/token.ts',
    edits: [[' || payload.tid !== expected.transferId)', ')']],
    tests: APP_TESTS,
  },
  {
    name: 'the first transfer answers for all',
    file: 'receiver/http/serve-all.ts',
    edits: [['apps.size === 1 ? first', 'apps.size > 0 ? first']],
    tests: [...APP_TESTS, ...TARGETS_TESTS],
  },
  {
    name: 'each transfer has its own budget of signature checks',
    file: 'receiver/http/auth.ts',
    edits: [['options.signatureChecks ?? new', 'new']],
    tests: APP_TESTS,
  },
  {
    name: 'each transfer has all of the memory',
    file: 'receiver/transfer/open-transfer.ts',
    edits: [['slabCount, arena })', 'slabCount })']],
    tests: TARGETS_TESTS,
  },
  {
    name: 'a small slab overtakes a large one that waits',
    file: 'common/io/buffers.ts',
    edits: [['readonly #turns = new Semaphore(1);', 'readonly #turns = new Semaphore(100);']],
    tests: ['test/common/io/buffers.test.ts'],
  },
  {
    name: 'a part of the arena that is returned is not joined with the one before it',
    file: 'common/io/buffers.ts',
    edits: [['const isAfter = before !== undefined &&', 'const isAfter = before === undefined &&']],
    tests: ['test/common/io/buffers.test.ts'],
  },
  {
    name: 'a transfer whose journal failed continues',
    file: 'receiver/http/app.ts',
    edits: [['    refuse();\n    await next();', '    await next();']],
    tests: APP_TESTS,
  },
  {
    name: 'a write is acknowledged although the journal has failed meanwhile',
    file: 'receiver/http/app.ts',
    edits: [['    await next();\n    refuse();', '    await next();']],
    tests: APP_TESTS,
  },
  {
    name: 'a journal that fails ends all transfers',
    file: 'receiver/main.ts',
    edits: [['isLast = ++failed.count === options.targets.length', 'isLast = ++failed.count > 0']],
    tests: TARGETS_TESTS,
  },
  {
    name: 'two targets may be one disk',
    file: 'receiver/refuse-overlaps.ts',
    edits: [['if (targets.length === 1) return;', 'if (targets.length > 0) return;']],
    tests: START_TESTS,
  },
  {
    name: 'the user of several targets has the right to the folder of one of them later',
    file: 'receiver/privileges.ts',
    edits: [["paths.join('\\n')", "paths.slice(0, 1).join('\\n')"]],
    tests: START_TESTS,
  },
  {
    name: '--once ends when the first transfer is sealed',
    file: 'receiver/main.ts',
    edits: [['    served.every(({ transfer, failure })', '    served.some(({ transfer, failure })']],
    tests: TARGETS_TESTS,
  },
  {
    name: 'the first byte is sent before all disks were shown',
    file: DISKS,
    edits: [['    met.push(', '    await send();\n    met.push(']],
    tests: DISKS_TESTS,
  },
  {
    name: 'the exit status is that of the last disk',
    file: DISKS,
    edits: [['return Math.max(...statuses.values());', 'return [...statuses.values()].at(-1) ?? 0;']],
    tests: DISKS_TESTS,
  },
  {
    name: 'after an unreachable receiver the next disk is waited for as long',
    file: DISKS,
    edits: [['    if (isOfAll) break;\n', '']],
    tests: DISKS_TESTS,
  },
];
