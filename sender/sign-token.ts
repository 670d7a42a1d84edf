/**
 * The token by the user's own key, for a public ticket. The system's ssh-keygen signs: it knows agents,
 * passphrases and security keys.
 */
import { TransferError, errnoOf, reasonOf } from '../common/errors.ts';
import { runTool, type ToolOutcome } from '../common/system-tools.ts';
import { printable } from '../common/text.ts';
import { problemOfKey } from '../common/trust/ssh-keys.ts';
import { parseSshsig } from '../common/trust/ssh-signature.ts';
import type { PublicTicket, Ticket } from '../common/trust/ticket.ts';
import { parseToken, TOKEN_NAMESPACE, tokenOf, type TokenPayload } from '../common/trust/token.ts';

/** A token lasts for one run; the next one signs another. Longer than any copy takes. */
const OWN_TOKEN_DAYS = 30;
const DAY_SECONDS = 86_400;
/** How far the clock of this machine may be ahead of the receiver's, which refuses tokens of the future. */
const CLOCK_SLACK_SECONDS = 3600;
/** Where agents and the programs that ask for passphrases are. */
const PASSED_ON = [
  'HOME',
  'SSH_AUTH_SOCK',
  'SSH_ASKPASS',
  'SSH_ASKPASS_REQUIRE',
  'SSH_SK_PROVIDER',
  'DISPLAY',
];
const PASSED_ON_TOO = ['WAYLAND_DISPLAY', 'XAUTHORITY', 'XDG_RUNTIME_DIR', 'TERM'];

/** What ssh-keygen prints → the end of our sentence, and the next step. */
const COMPLAINTS: readonly (readonly [RegExp, string, (file: string) => string])[] = [
  [/UNPROTECTED PRIVATE KEY FILE/, 'others may read it', (file) => `chmod 600 ${file}`],
  [
    /incorrect passphrase/,
    'its passphrase was wrong, or not given',
    (file) => `ssh-add ${file}, then the same command again`,
  ],
  [
    /No private key found|agent refused operation/,
    'there is no private key beside it, and no agent that signs with it',
    () => 'see with ssh-add -l whether the agent has it; sudo needs --preserve-env=SSH_AUTH_SOCK',
  ],
];

export interface SignOptions {
  /** A private key, or the public one of a key that an agent has. */
  readonly identity: string;
  readonly nowSeconds: number;
  /** Shows what a security key asks for. */
  readonly onRequest: (text: string) => void;
}

/** @throws TransferError `usage`. */
export async function signToken(ticket: PublicTicket, options: SignOptions): Promise<Ticket> {
  const { identity, nowSeconds } = options;
  const { transferId, receiver, ...place } = ticket;
  const iat = nowSeconds - CLOCK_SLACK_SECONDS;
  const exp = nowSeconds + OWN_TOKEN_DAYS * DAY_SECONDS;
  const payload: TokenPayload = { v: 1, aud: ticket.pin, tid: transferId, scope: ['write'], iat, exp };
  const bytes = Buffer.from(JSON.stringify(payload));
  const signature = await sign(bytes, options);
  const key = parseSshsig(signature)?.publicKey;
  const token = tokenOf(bytes, signature);
  const isReadable = key !== undefined && parseToken(token) !== undefined;
  const problem = isReadable ? problemOfKey(key) : 'keys of this type are not supported';
  if (problem !== undefined) refuse(identity, problem);
  return { ...place, token, receiver };
}

/** @returns the binary signature. */
async function sign(payload: Buffer, { identity, onRequest }: SignOptions): Promise<Buffer> {
  const names = [...PASSED_ON, ...PASSED_ON_TOO].filter((name) => process.env[name] !== undefined);
  let outcome: ToolOutcome;
  try {
    outcome = await runTool('ssh-keygen', ['-q', '-Y', 'sign', '-f', identity, '-n', TOKEN_NAMESPACE], {
      input: payload,
      env: Object.fromEntries(names.map((name) => [name, process.env[name]])),
      onComplaint: (text) => {
        if (/user presence/i.test(text)) onRequest(text);
      },
    });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') refuse(identity, reasonOf(error));
    return refuse(identity, 'ssh-keygen is not installed', 'apt-get install openssh-client');
  }
  const { isDone, output, complaint } = outcome;
  if (isDone) return Buffer.from(output.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
  const [, reason, hint] = COMPLAINTS.find(([pattern]) => pattern.test(complaint)) ?? [];
  if (reason !== undefined) return refuse(identity, reason, hint?.(identity));
  const last = complaint.trim().split('\n').at(-1) ?? '';
  const said = printable(last.split(': ').at(-1) ?? '').toLowerCase();
  return refuse(identity, said === '' ? 'ssh-keygen failed' : said);
}

function refuse(identity: string, reason: string, hint = `ls -l ${identity} ${identity}.pub`): never {
  throw new TransferError('usage', `cannot sign with the key ${identity}: ${reason}`, { hint });
}
