/** Faults in what has to outlive the process: the target's flush, the journal, small files. */
import type { Mutant } from './try-mutant.ts';

const TARGET = 'receiver/target/disk-target.ts';
const FILE_TARGET = 'receiver/target/file-target.ts';
const TARGET_TESTS = ['test/receiver/target/disk-target.test.ts'];
const WRITTEN_MAP_TESTS = ['test/receiver/target/written-map.test.ts'];
const JOURNAL = 'receiver/journal/sqlite-journal.ts';
const JOURNAL_TESTS = ['test/receiver/journal/journal.test.ts'];
const DURABLE_FILE = 'common/io/durable-file.ts';
const DURABLE_FILE_TESTS = ['test/common/io/durable-file.test.ts'];

export const KEEPING: readonly Mutant[] = [
  {
    name: 'the flush of a device does nothing',
    file: TARGET,
    edits: [['await this.#buffered.datasync();', 'await Promise.resolve();']],
    tests: TARGET_TESTS,
  },
  {
    name: 'an error of the flush is swallowed',
    file: TARGET,
    edits: [
      [
        "      throw new TransferError('io-error', `cannot flush",
        "      void new TransferError('io-error', `cannot flush",
      ],
    ],
    tests: ['test/receiver/target/disk-target-faults.test.ts'],
  },
  {
    name: 'a short write counts as a whole one',
    file: TARGET,
    edits: [['while (done < bytes.length) {', 'if (done < bytes.length) {']],
    tests: ['test/receiver/target/disk-target-faults.test.ts'],
  },
  {
    name: 'zeros are left out where no hole can be punched',
    file: TARGET,
    edits: [["if (outcome === 'done') at += punchable;", 'at += punchable;']],
    tests: TARGET_TESTS,
  },
  {
    name: 'zeros are left out where something was written',
    file: TARGET,
    edits: [['    this.#written?.add(offset, bytes.length);\n', '']],
    tests: WRITTEN_MAP_TESTS,
  },
  {
    name: 'zeros are left out in a file that held something',
    file: FILE_TARGET,
    edits: [['if (size === 0) this.setAllZero', 'if (size >= 0) this.setAllZero']],
    tests: WRITTEN_MAP_TESTS,
  },
  {
    name: 'only the first chunk of a write counts as written',
    file: 'receiver/target/written-map.ts',
    edits: [['chunk < end; chunk++) {', 'chunk < Math.min(end, offset / this.#chunkBytes + 1); chunk++) {']],
    tests: WRITTEN_MAP_TESTS,
  },
  {
    name: 'a file is not locked',
    file: FILE_TARGET,
    edits: [['!(await lockFile(buffered))', 'false']],
    tests: TARGET_TESTS,
  },
  {
    name: 'a device is not claimed for oneself alone',
    file: 'receiver/target/device-target.ts',
    edits: [[' | constants.O_EXCL', '']],
    tests: TARGET_TESTS,
  },
  {
    name: 'the journal is not synced',
    file: JOURNAL,
    edits: [['PRAGMA synchronous=FULL', 'PRAGMA synchronous=OFF']],
    tests: ['test/faults/write-order.test.ts'],
  },
  {
    name: 'a second receiver gets the journal',
    file: JOURNAL,
    edits: [['PRAGMA locking_mode=EXCLUSIVE; ', '']],
    tests: JOURNAL_TESTS,
  },
  {
    name: 'the journal forgets no block',
    file: JOURNAL,
    edits: [['for (const index of indexes) this.#delete.run(index);', 'void indexes;']],
    tests: JOURNAL_TESTS,
  },
  {
    name: 'half of a change of the journal stays when it fails',
    file: JOURNAL,
    edits: [
      [
        "      this.#db.exec('BEGIN IMMEDIATE');\n      work();\n      this.#db.exec('COMMIT');\n",
        '      work();\n',
      ],
    ],
    tests: JOURNAL_TESTS,
  },
  {
    name: 'a block that was rewritten keeps its old unreadable areas in the journal',
    file: JOURNAL,
    edits: [
      [
        'INSERT OR REPLACE INTO block (${columns}) VALUES (?, ?, ?)',
        'INSERT INTO block (${columns}) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest',
      ],
    ],
    tests: JOURNAL_TESTS,
  },
  {
    name: 'the folder of a new journal is not synced',
    file: 'receiver/journals.ts',
    edits: [
      [
        'await makeFolderDurably(folder, 0o700);',
        "(await import('node:fs')).mkdirSync(folder, { recursive: true });",
      ],
    ],
    tests: ['test/faults/write-order.test.ts'],
  },
  {
    name: 'a small file has its name before its content is synced',
    file: DURABLE_FILE,
    edits: [['  await file.sync();\n', '']],
    tests: DURABLE_FILE_TESTS,
  },
  {
    name: 'the name of a small file is not synced',
    file: DURABLE_FILE,
    edits: [['    throw error;\n  }\n  await syncFolder(dirname(path));\n', '    throw error;\n  }\n']],
    tests: DURABLE_FILE_TESTS,
  },
];
