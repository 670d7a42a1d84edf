/** Faults in what a target holds under its digests, and in what its receivers share. */
import type { Mutant } from './try-mutant.ts';

const COPY = 'receiver/target/store-copy.ts';
const TARGET = 'receiver/target/store-target.ts';
const VERIFY = 'receiver/durability/verify-blocks.ts';
const CLAIM = 'receiver/transfer/claim.ts';
const SHARED_TESTS = ['test/receiver/transfer/shared-transfer.test.ts'];
const STORE_TESTS = ['test/receiver/target/store-target.test.ts'];

export const STORING: readonly Mutant[] = [
  {
    name: 'the store is believed to hold every block',
    file: 'receiver/transfer/copy-block.ts',
    edits: [['await store.holds(digest, length);', "'object-store' as const;"]],
    tests: SHARED_TESTS,
  },
  {
    name: 'a block that was read as other bytes counts as read back',
    file: VERIFY,
    edits: [['read?.digest.equals(this.#options.table.digestOf(index)) !== true', 'read === undefined']],
    tests: SHARED_TESTS,
  },
  {
    name: 'blocks of a store that were read before a doubt count as read back',
    file: VERIFY,
    edits: [['    this.#read.clear();\n', '']],
    tests: SHARED_TESTS,
  },
  {
    name: 'the receipt of blocks that a store held says that a disk was read',
    file: VERIFY,
    edits: [['    this.#method = read.method;\n', '']],
    tests: SHARED_TESTS,
  },
  {
    name: 'other receivers do not hear of a claim',
    file: CLAIM,
    edits: [['  await keepForOthers(transfer);\n', '']],
    tests: SHARED_TESTS,
  },
  {
    name: 'the claim of another receiver is not followed',
    file: CLAIM,
    edits: [['  await followOthers(transfer);\n', '']],
    tests: SHARED_TESTS,
  },
  {
    name: 'a transfer is sealed that the store has not sealed',
    file: 'receiver/transfer/seal.ts',
    edits: [['  await sealInStore(', '  void sealInStore(']],
    tests: SHARED_TESTS,
  },
  {
    name: 'a receiver that knows no claim undoes that of another one',
    file: COPY,
    edits: [['claim: record.claim ?? found.claim', 'claim: record.claim']],
    tests: STORE_TESTS,
  },
  {
    name: 'a copy is sealed while chunks are being deleted',
    file: COPY,
    edits: [['      if (await isSweeping(this.#store)) throw this.#sweeping();\n', '']],
    tests: STORE_TESTS,
  },
  {
    name: 'a copy is sealed without chunks that were collected',
    file: COPY,
    edits: [['if (missing.length > 0) return missing;', '']],
    tests: STORE_TESTS,
  },
  {
    name: 'a seal ends the transfer of another receiver',
    file: COPY,
    edits: [['if (found?.transferId === transferId) await', 'await']],
    tests: STORE_TESTS,
  },
  {
    name: 'a transfer that was sealed elsewhere continues',
    file: COPY,
    edits: [['found === undefined ? await this.#isSealed(transferId) :', 'found === undefined ? false :']],
    tests: STORE_TESTS,
  },
  {
    name: 'condemned chunks are not stored again',
    file: COPY,
    edits: [['    await this.#store.replaceChunk(bytes, digest);\n', '']],
    tests: STORE_TESTS,
  },
  {
    name: 'what is there under the name of a chunk is believed',
    file: TARGET,
    edits: [['if (!isFine) await', 'if (!isFine && offset < 0) await']],
    tests: STORE_TESTS,
  },
  {
    name: 'a chunk that is too long counts as the block',
    file: 'common/store/fetch-chunk.ts',
    edits: [['return isSized && isOfWhole && at === lengthBytes ?', 'return at >= lengthBytes ?']],
    tests: STORE_TESTS,
  },
  {
    name: 'a receiver that was away for a day believes what it has read',
    file: 'receiver/tend-store.ts',
    edits: [['      transfer.readAgain();\n', '']],
    tests: ['test/receiver/tend-store.test.ts'],
  },
];
