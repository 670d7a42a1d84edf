/** Faults in what a receiver accepts from people who sign with their own keys, and in what they sign. */
import type { Mutant } from './try-mutant.ts';

const KEYS = 'common/trust/ssh-keys.ts';
const KEYS_TESTS = ['test/common/trust/ssh-keys.test.ts'];
const FILE = 'common/trust/allowed-signers.ts';
const FILE_TESTS = ['test/common/trust/allowed-signers.test.ts'];
const AUTH = 'receiver/http/auth.ts';
const AUTH_TESTS = ['test/receiver/http/auth-signers.test.ts'];
const LOAD = 'receiver/identity/load-signers.ts';
const TICKET = 'common/trust/ticket.ts';
const TICKET_TESTS = ['test/common/trust/ticket.test.ts'];
const COPY_TESTS = ['test/end-to-end/own-key.test.ts'];

export const SIGNERS: readonly Mutant[] = [
  {
    name: 'RSA with SHA-1 is accepted',
    file: KEYS,
    edits: [["= { 'rsa-sha2-256'", "= { 'ssh-rsa': 'sha1', 'rsa-sha2-256'"]],
    tests: KEYS_TESTS,
  },
  {
    name: 'a security key need not be touched',
    file: KEYS,
    edits: [['& FLAG_USER_PRESENT) === 0', '& FLAG_USER_PRESENT) < 0']],
    tests: KEYS_TESTS,
  },
  {
    name: 'the flags of a security key are not covered',
    file: KEYS,
    edits: [['[purpose, presence, hash(', '[purpose, Buffer.from([1, 0, 0, 2, 7]), hash(']],
    tests: KEYS_TESTS,
  },
  {
    name: 'a short RSA key is accepted',
    file: KEYS,
    edits: [['bits < RSA_BITS_MIN ||', 'bits < 0 ||']],
    tests: KEYS_TESTS,
  },
  {
    name: 'a line for other namespaces counts',
    file: FILE,
    edits: [
      [
        '!isInPatterns(namespace, namespaces)) return',
        '!isInPatterns(namespace, namespaces) && line === "") return',
      ],
    ],
    tests: FILE_TESTS,
  },
  {
    name: 'a namespace that is excluded counts',
    file: FILE,
    edits: [['return !isDenied && patterns', 'return (isDenied || !isDenied) && patterns']],
    tests: FILE_TESTS,
  },
  {
    name: 'an option that is not known is ignored',
    file: FILE,
    edits: [['      return refuse(`the option ${written} is not known`);', '      continue;']],
    tests: FILE_TESTS,
  },
  {
    name: 'a certificate authority is a key',
    file: FILE,
    edits: [
      [
        "if (name === 'cert-authority') return refuse",
        "if (name === 'cert-authority') continue;\n    if (name === '') return refuse",
      ],
    ],
    tests: FILE_TESTS,
  },
  {
    name: 'a key is valid one second too long',
    file: FILE,
    edits: [['nowSeconds <= (validBefore ?? nowSeconds)', 'nowSeconds - 1 <= (validBefore ?? nowSeconds)']],
    tests: [...FILE_TESTS, ...AUTH_TESTS],
  },
  {
    name: 'a key that is not valid now is trusted',
    file: AUTH,
    edits: [[' && isValidAt(signer, nowSeconds),', ' && (isValidAt(signer, nowSeconds) || nowSeconds > 0),']],
    tests: AUTH_TESTS,
  },
  {
    name: 'a key that is in no line is trusted',
    file: AUTH,
    edits: [
      ['signer.publicKey.equals(token.signature.publicKey) &&', 'signer.publicKey.length > 0 &&'],
      ['[signer.publicKey]', '[token.signature.publicKey]'],
    ],
    tests: AUTH_TESTS,
  },
  {
    name: 'signatures of users are not limited',
    file: AUTH,
    edits: [
      ['    this.#checks.spend();\n', '    if (this.#signerOf(token) === undefined) this.#checks.spend();\n'],
    ],
    tests: AUTH_TESTS,
  },
  {
    name: 'the log does not name the signer',
    file: 'receiver/http/app.ts',
    edits: [["    if (signer !== undefined) context.set('signer', signer);\n", '    void signer;\n']],
    tests: COPY_TESTS,
  },
  {
    name: 'others may write to the file of signers',
    file: LOAD,
    edits: [['weakOwner(path, stats) ?? weakMode(path, stats)', 'weakOwner(path, stats)']],
    tests: COPY_TESTS,
  },
  {
    name: 'others may replace the file of signers behind a link',
    file: LOAD,
    edits: [['[resolve(path), await realpath(path)]', '[resolve(path)]']],
    tests: COPY_TESTS,
  },
  {
    name: 'the secret ticket is printed beside the public one',
    file: 'receiver/main.ts',
    edits: [
      [
        '    else printPublicTicket(formatPublicTicket(publicTicket), name);',
        '    else printPublicTicket(`${formatPublicTicket(publicTicket)}\\n${formatTicket(ticket)}`, name);',
      ],
    ],
    tests: COPY_TESTS,
  },
  {
    name: 'the key in a public ticket is not compared with that of the receipt',
    file: 'sender/client/receipt-signature.ts',
    edits: [
      [
        'const wanted = receiverOf(ticket);',
        'const wanted = fingerprintOf(receiptSigner(Buffer.from(text), signature) ?? Buffer.alloc(0));',
      ],
    ],
    tests: COPY_TESTS,
  },
  {
    name: 'a ticket with a token is signed over',
    file: TICKET,
    edits: [
      [
        "if (parameters.has('token')) refuse",
        "if (parameters.has('token') && transferId === undefined) refuse",
      ],
    ],
    tests: TICKET_TESTS,
  },
  {
    name: 'a token begins when the clock of its maker says that it is made',
    file: 'sender/sign-token.ts',
    edits: [['nowSeconds - CLOCK_SLACK_SECONDS', 'nowSeconds']],
    tests: ['test/sender/sign-token.test.ts'],
  },
];
