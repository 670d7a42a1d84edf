/** Faults in what the sender believes of a receiver. */
import type { Mutant } from './try-mutant.ts';

const SIGNATURE_TESTS = ['test/end-to-end/receipt-signature.test.ts'];

export const DISTRUSTING: readonly Mutant[] = [
  {
    name: 'the signature of a receipt is not checked',
    file: 'common/trust/receipt-signer.ts',
    edits: [['return isSignatureGood(signature, json) ? publicKey : undefined;', 'return publicKey;']],
    tests: SIGNATURE_TESTS,
  },
  {
    name: 'a receipt of any key is believed',
    file: 'sender/client/receipt-signature.ts',
    edits: [['signer?.equals(key) === true', 'signer !== undefined']],
    tests: SIGNATURE_TESTS,
  },
  {
    name: '--signer is not compared',
    file: 'receiver/check-receipt.ts',
    edits: [[' && fingerprint !== wantedSigner)', ' && fingerprint === undefined)']],
    tests: SIGNATURE_TESTS,
  },
];
