/** Faults in what the sender believes of a receiver. */
import type { Mutant } from './try-mutant.ts';

const SIGNATURE_TESTS = ['test/end-to-end/receipt-signature.test.ts'];

const LYING_TESTS = ['test/end-to-end/lying-receiver.test.ts'];
const CLIENT = 'sender/client/http-receiver.ts';
const FIELDS = 'sender/client/response-fields.ts';
const FIELDS_TESTS = ['test/sender/client/response-fields.test.ts'];
const STALL = 'sender/client/connection/stall-watch.ts';

const PROOF_TESTS = ['test/end-to-end/proof.test.ts'];
const PROVE_TESTS = ['test/receiver/http/routes-prove.test.ts'];

export const DISTRUSTING: readonly Mutant[] = [
  {
    name: 'the signature of a receipt is not checked',
    file: 'common/trust/receipt-signer.ts',
    edits: [['return isSignatureGood(signature, json) ? publicKey : undefined;', 'return publicKey;']],
    tests: [...SIGNATURE_TESTS, 'test/receiver/check-receipt.test.ts'],
  },
  {
    name: 'a receipt of any key is believed',
    file: 'sender/client/receipt-signature.ts',
    edits: [['signer !== undefined && signer === wanted', 'signer !== undefined']],
    tests: SIGNATURE_TESTS,
  },
  {
    name: '--signer is not compared',
    file: 'common/receipt/signed-receipt.ts',
    edits: [[' && signed.fingerprint !== wantedSigner)', ' && signed.fingerprint === undefined)']],
    tests: SIGNATURE_TESTS,
  },
  {
    name: 'a code that never travels is obeyed',
    file: 'common/protocol/problem-codes.ts',
    edits: [['return PROBLEM_CODES.some((code) => code === value);', "return typeof value === 'string';"]],
    tests: FIELDS_TESTS,
  },
  {
    name: 'what the receiver says is not marked',
    file: FIELDS,
    edits: [['`the receiver says: ${shortened(said)}`', 'printable(said)']],
    tests: FIELDS_TESTS,
  },
  {
    name: 'the hint of the receiver is printed as a hint',
    file: FIELDS,
    edits: [[') ?? HINTS[code];', ") ?? HINTS[code] ?? problem['hint']?.toString();"]],
    tests: FIELDS_TESTS,
  },
  {
    name: 'any path of the receiver is put into a hint',
    file: 'common/text.ts',
    edits: [['.test(path) ? path :', '.test(path) || path !== placeholder ? path :']],
    tests: LYING_TESTS,
  },
  {
    name: 'a receiver that is not done is waited for without end',
    file: 'sender/transfer/retry.ts',
    edits: [['if (this.#waitedMs < this.#options.retryForMs) return;', 'if (this.#waitedMs >= 0) return;']],
    tests: LYING_TESTS,
  },
  {
    name: 'more blocks than there are count as progress',
    file: 'sender/transfer/reading-progress.ts',
    edits: [['Math.min(count, this.#total())', 'Math.max(count, this.#total() - this.#total())']],
    tests: LYING_TESTS,
  },
  {
    name: 'a receiver may begin to read again without end',
    file: 'sender/transfer/reading-progress.ts',
    edits: [[' && this.#readings < READINGS_MAX)', ' && this.#readings > 0)']],
    tests: LYING_TESTS,
  },
  {
    name: 'a trickle is a response',
    file: STALL,
    edits: [['return bytes >= (RESPONSE', 'return bytes > 0 || bytes >= (RESPONSE']],
    tests: LYING_TESTS,
  },
  {
    name: 'the framing of a response has no limit',
    file: STALL,
    edits: [
      ['if (bytesRead - before <= this.#options.responseBytesMax) return', 'if (bytesRead >= 0) return'],
    ],
    tests: LYING_TESTS,
  },
  {
    name: 'interim responses have no limit',
    file: CLIENT,
    edits: [['if (++interimCount > INTERIM_RESPONSES_MAX)', 'if (++interimCount < 0)']],
    tests: LYING_TESTS,
  },
  {
    name: 'the body of a response has no limit',
    file: CLIENT,
    edits: [['if (length > bytesMax) throw', 'if (length < 0) throw']],
    tests: LYING_TESTS,
  },
  {
    name: 'the proof is not compared',
    file: 'sender/transfer/prove.ts',
    edits: [['digests[at]?.equals(digest) !== true', 'digests[at]?.length !== digest.length']],
    tests: PROOF_TESTS,
  },
  {
    name: 'the proof is of the digests alone',
    file: 'common/digest/proof-digest.ts',
    edits: [["createHash('sha256').update(nonce)", "createHash('sha256')"]],
    tests: PROVE_TESTS,
  },
  {
    name: 'areas are proven from the page cache',
    file: 'receiver/transfer/prove-areas.ts',
    edits: [['transfer.target.readBack(bytes,', 'transfer.target.read(bytes,']],
    tests: PROVE_TESTS,
  },
  {
    name: 'an answer with another nonce is a proof',
    file: 'sender/client/responses.ts',
    edits: [["    result['nonce'] === nonce &&\n", "    nonce !== '' &&\n"]],
    tests: PROOF_TESTS,
  },
  {
    name: 'the first blocks are the sample',
    file: 'sender/transfer/proof-sample.ts',
    edits: [['nth : this.#random(nth + 1)', 'nth : this.#random(nth + 1) + PROVE_AREAS_MAX']],
    tests: ['test/sender/transfer/proof-sample.test.ts'],
  },
  {
    name: 'SIGUSR1 opens the debugger',
    file: 'scripts/launch.sh',
    edits: [['"$ddt_node" --disable-sigusr1', '"$ddt_node"']],
    tests: ['test/cli/progress-signal.test.ts'],
  },
  {
    name: 'SIGUSR1 stays blocked',
    file: 'common/progress-signal.ts',
    edits: [['  functions.pthread_sigmask(SIG_UNBLOCK, signals, 0n);\n', '  void functions;\n']],
    tests: ['test/cli/progress-signal.test.ts'],
  },
  {
    name: 'the ticket is an argument of Node.js',
    file: 'scripts/ddt-send',
    edits: [['      ddt_word=ddt-argument:$ddt_count\n', '']],
    tests: ['test/cli/process-title.test.ts'],
  },
  {
    name: 'programs that ddt-send starts inherit the ticket',
    file: 'sender/moved-arguments.ts',
    edits: [['    Reflect.deleteProperty(environment, name);\n', '']],
    tests: ['test/cli/process-title.test.ts'],
  },
];
