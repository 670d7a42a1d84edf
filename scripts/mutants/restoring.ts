/** Faults in how copies in an object store are restored, checked and forgotten. */
import type { Mutant } from './try-mutant.ts';

const SOURCE = 'sender/source/store-source.ts';
const KEPT = 'sender/source/kept-chunks.ts';
const KEPT_TESTS = ['test/sender/source/kept-chunks.test.ts'];
const RESTORE_TESTS = ['test/end-to-end/restore.test.ts'];
const CHECK = 'receiver/store/check-store.ts';
const TOOLS_TESTS = ['test/end-to-end/store-tools.test.ts'];
const FATE = 'receiver/store/fate.ts';
const FATE_TESTS = ['test/receiver/store/fate.test.ts'];
const COLLECT = 'receiver/store/collect.ts';
const COLLECTION_TESTS = ['test/end-to-end/store-collection.test.ts'];

const READING: readonly Mutant[] = [
  {
    name: 'a chunk with other bytes is restored',
    file: SOURCE,
    edits: [["      if (state !== 'equal') {", "      if (state === 'absent') {"]],
    tests: RESTORE_TESTS,
  },
  {
    name: 'a part of a chunk is taken from its beginning',
    file: SOURCE,
    edits: [['bytes.copy(into, 0, from, from + into.length)', 'bytes.copy(into, 0, 0, into.length)']],
    tests: RESTORE_TESTS,
  },
  {
    name: 'the buffer of a chunk that is still fetched is lent again',
    file: KEPT,
    edits: [['users: 1, isKept: true', 'users: 0, isKept: true']],
    tests: KEPT_TESTS,
  },
  {
    name: 'a chunk that could not be fetched is kept as such',
    file: KEPT,
    edits: [['      this.#drop(chunk);\n      reject(error);', '      reject(error);']],
    tests: KEPT_TESTS,
  },
  {
    name: 'the first copy is the last one',
    file: 'common/store/choose-copy.ts',
    edits: [['const last = found.at(-1);', 'const last = found.at(0);']],
    tests: ['test/common/store/choose-copy.test.ts'],
  },
  {
    name: 'a manifest under the name of another copy is used',
    file: 'common/store/object-store.ts',
    edits: [['if (manifest.head.name === name && ', 'if (']],
    tests: TOOLS_TESTS,
  },
  {
    name: 'a missing chunk does not count',
    file: CHECK,
    edits: [["    if (state === 'absent') this.missing++;\n", '']],
    tests: TOOLS_TESTS,
  },
  {
    name: 'a chunk is read for each copy that has it',
    file: CHECK,
    edits: [['if (this.#states.get(digest) === undefined) await', 'await']],
    tests: TOOLS_TESTS,
  },
];

const FORGETTING: readonly Mutant[] = [
  {
    name: 'what was stored again since it was condemned is deleted',
    file: FATE,
    edits: [['condemnedAtMs !== undefined && modifiedAtMs < condemnedAtMs', 'condemnedAtMs !== undefined']],
    tests: FATE_TESTS,
  },
  {
    name: 'what may be part of a running transfer is condemned',
    file: FATE,
    edits: [['Math.min(nowMs - graceMs, oldestStartMs)', 'nowMs - graceMs']],
    tests: FATE_TESTS,
  },
  {
    name: 'what was condemned just now is deleted',
    file: FATE,
    edits: [['return condemnedAtMs <= nowMs - graceMs;', 'return condemnedAtMs <= nowMs + graceMs;']],
    tests: FATE_TESTS,
  },
  {
    name: 'sealed manifests are read before the pending ones',
    file: 'receiver/store/references.ts',
    edits: [['[PENDING_FOLDER, COPIES_FOLDER]', '[COPIES_FOLDER, PENDING_FOLDER]']],
    tests: ['test/receiver/store/references.test.ts'],
  },
  {
    name: 'pending manifests need nothing',
    file: 'receiver/store/references.ts',
    edits: [['[PENDING_FOLDER, COPIES_FOLDER]', '[COPIES_FOLDER]']],
    tests: COLLECTION_TESTS,
  },
  {
    name: 'a collection continues whose place another has taken',
    file: 'receiver/store/sweep-claim.ts',
    edits: [['    if (this.#lost !== undefined) throw this.#lost;\n', '']],
    tests: COLLECTION_TESTS,
  },
  {
    name: 'two collections run at once',
    file: 'receiver/store/sweep-claim.ts',
    edits: [
      ['if (found !== undefined && found.ageMs < SWEEP_RENEWED_MS_MAX) throw', 'if (found?.id === "") throw'],
      ['if (own?.id !== claim.#id) throw', 'if (own === undefined) throw'],
    ],
    tests: COLLECTION_TESTS,
  },
  {
    name: 'lists that were carried out stay',
    file: COLLECT,
    edits: [['if (isDue(atMs, times)) await', 'if (atMs < 0) await']],
    tests: COLLECTION_TESTS,
  },
];

export const RESTORING: readonly Mutant[] = [...READING, ...FORGETTING];
