/** What a receiver says when it has started: lines for people, or one event for programs. Pure. */
import { diskKind, diskName, type DiskToName } from '../../common/disk/disk-line.ts';
import { formatHostPort } from '../../common/host-port.ts';
import { fingerprintOf } from '../../common/trust/ssh-signature.ts';
import type { AllowedSigner } from '../../common/trust/allowed-signers.ts';
import { formatSize } from '../../common/units.ts';

export interface StartFacts {
  readonly target: DiskToName & { readonly sizeBytes: number | null };
  /** What is on it, in words. */
  readonly content: readonly string[];
  readonly journal: string;
  /** undefined before a sender has claimed the target. */
  readonly transfer: TransferFacts | undefined;
  readonly listen: { readonly host: string; readonly port: number };
  readonly ticketFile: string | undefined;
  /** Whose own keys may sign tokens. */
  readonly signers: readonly AllowedSigner[];
  readonly publicTicket: string | undefined;
}

export interface TransferFacts {
  /** The other name of the target under which it began. */
  readonly begunAs: string | undefined;
  readonly isSealed: boolean;
  /** null: of a pipe that has not ended. */
  readonly blockCount: number | null;
  readonly durableBlocks: number;
}

/** @param more of the other targets. */
export function startLines(facts: StartFacts, ...more: readonly StartFacts[]): string[] {
  const { listen, ticketFile, signers, publicTicket } = facts;
  const lines = [facts, ...more].flatMap(targetLines);
  for (const signer of signers) lines.push(`signer   ${nameOfSigner(signer)}`);
  lines.push(`listening on ${formatHostPort(listen.host, listen.port)}`);
  if (ticketFile !== undefined) {
    const [tickets, publicOnes] =
      more.length === 0
        ? ['ticket   written', 'the public one']
        : ['tickets  written, a line for each target,', 'the public ones'];
    const publicToo = publicTicket === undefined ? '' : `, ${publicOnes} to ${ticketFile}.pub`;
    lines.push(`${tickets} to ${ticketFile}${publicToo}`);
  }
  return lines;
}

function targetLines({ target, content, journal, transfer }: StartFacts): string[] {
  const size = target.sizeBytes === null ? 'takes the size of the source' : formatSize(target.sizeBytes);
  const lines = [`target   ${diskName(target)}: ${diskKind(target)}, ${size}, ${holding(content, transfer)}`];
  if (transfer === undefined) lines.push(`journal  ${journal} (new)`);
  else {
    const { isSealed, blockCount, durableBlocks } = transfer;
    const state = isSealed ? 'complete and sealed' : 'NOT FINISHED';
    const of = blockCount === null ? '' : ` of ${blockCount}`;
    const unknown = blockCount === null ? 'size not known yet, ' : '';
    const reading = isSealed || durableBlocks === 0 ? '' : '; reading them back';
    lines.push(`journal  ${journal} (${state}: ${unknown}${durableBlocks}${of} blocks durable${reading})`);
  }
  return lines;
}

function nameOfSigner({ principals, publicKey, validAfter, validBefore }: AllowedSigner): string {
  const from = validAfter === undefined ? '' : `, from ${timeOf(validAfter)}`;
  const until = validBefore === undefined ? '' : `, until ${timeOf(validBefore)}`;
  return `${principals}: ${fingerprintOf(publicKey)}${from}${until}`;
}

function timeOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000', '');
}

function holding(content: readonly string[], transfer: TransferFacts | undefined): string {
  if (transfer?.begunAs !== undefined) return `holds this transfer, begun as ${transfer.begunAs}`;
  if (transfer !== undefined) return 'holds this transfer';
  return content.length === 0 ? 'empty' : `holds ${content.join(', ')}`;
}

/** The members of a line of a JSON log. */
export function startEvent(facts: StartFacts): Record<string, unknown> {
  const { target, listen, transfer } = facts;
  const address = formatHostPort(listen.host, listen.port);
  const message = `listening on ${address} for ${target.path}, ${holding(facts.content, transfer)}`;
  const { ticketFile = null, publicTicket = null } = facts;
  const signers = facts.signers.map(({ principals, publicKey, validAfter, validBefore }) => ({
    principals,
    key: fingerprintOf(publicKey),
    validAfter: validAfter === undefined ? null : timeOf(validAfter),
    validBefore: validBefore === undefined ? null : timeOf(validBefore),
  }));
  return { message, ...facts, transfer: transfer ?? null, ticketFile, signers, publicTicket };
}
