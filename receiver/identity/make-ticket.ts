/** The tickets of transfers: the same after a restart, until it is about to expire. */
import type { Clock } from '../../common/clock.ts';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';
import { formatHostPort } from '../../common/host-port.ts';
import { writeFileDurably } from '../../common/io/durable-file.ts';
import { findOutputProblem } from '../../common/io/output-file.ts';
import { fingerprintOf, type SigningKey } from '../../common/trust/ssh-signature.ts';
import {
  formatPublicTicket,
  formatTicket,
  type PublicTicket,
  type Ticket,
} from '../../common/trust/ticket.ts';
import { mintToken, type Scope } from '../../common/trust/token.ts';
import { defaultAdvertiseHost } from './advertise.ts';

/** Longer than any copy takes over a usable line; a restart within the last week of it prints a new one. */
const TICKET_DAYS = 30;
const TICKET_RENEW_DAYS = 7;
const DAY_SECONDS = 86_400;
const SECRET_MODE = 0o600;
const PUBLIC_MODE = 0o644;

export interface TicketOptions {
  readonly advertise: { readonly host: string; readonly port: number | undefined } | undefined;
  /** `::` and `0.0.0.0`: every address. */
  readonly listenHost: string;
  /** Others than the receiver may sign tokens. */
  readonly allowSigners: string | undefined;
}

export interface TicketFiles {
  /** Where the tickets are written as well; the public ones beside it. */
  readonly ticketFile: string | undefined;
  /** Where tickets are written that allow only to read. */
  readonly readTicketFile: string | undefined;
}

export interface Tickets {
  readonly ticket: Ticket;
  /** Allows only to read. */
  readonly readTicket: () => Ticket;
  /** For those who sign their tokens; undefined where nobody may. */
  readonly publicTicket: PublicTicket | undefined;
}

/** Beside the ticket file, as the public half of an ssh key is. */
export function publicTicketPath(ticketFile: string): string {
  return `${ticketFile}.pub`;
}

/** The properties of the journal, which keeps the time of issue. */
export interface TicketRecord {
  property(name: string): string | undefined;
  setProperties(properties: Readonly<Record<string, string>>): void;
}

export async function makeTicket(
  options: TicketOptions,
  parts: {
    transferId: string;
    record: TicketRecord;
    key: SigningKey;
    pin: string;
    port: number;
    clock: Clock;
  },
): Promise<Tickets> {
  const { transferId, record, key, pin, clock } = parts;
  const now = Math.floor(clock.wallMs() / 1000);
  const issuedBefore = Number(record.property('ticketIssuedAt') ?? NaN);
  const isFresh = issuedBefore <= now && now < issuedBefore + (TICKET_DAYS - TICKET_RENEW_DAYS) * DAY_SECONDS;
  const iat = isFresh ? issuedBefore : now;
  if (!isFresh) record.setProperties({ ticketIssuedAt: String(iat) });
  const exp = iat + TICKET_DAYS * DAY_SECONDS;
  const tokenFor = (scope: Scope): string =>
    mintToken({ v: 1, aud: pin, tid: transferId, scope: [scope], iat, exp }, key);
  const host = options.advertise?.host ?? (await defaultAdvertiseHost(options.listenHost));
  const port = options.advertise?.port ?? parts.port;
  const place = { origin: `https://${formatHostPort(host, port)}`, host, port, pin };
  const ticket: Ticket = { ...place, token: tokenFor('write') };
  const publicTicket =
    options.allowSigners === undefined
      ? undefined
      : { ...place, transferId, receiver: fingerprintOf(key.publicKey) };
  const readTicket = (): Ticket => ({ ...place, token: tokenFor('read') });
  return { ticket, readTicket, publicTicket };
}

/** A line for each transfer. @throws TransferError `usage`, `no-space`. */
export async function writeTickets(
  { ticketFile, readTicketFile }: TicketFiles,
  all: readonly Tickets[],
): Promise<void> {
  if (ticketFile !== undefined) {
    const tickets = all.map(({ ticket }) => formatTicket(ticket));
    await writeLines(ticketFile, tickets, SECRET_MODE);
    const publicOnes = all.flatMap(({ publicTicket }) => publicTicket ?? []);
    if (publicOnes.length > 0)
      await writeLines(publicTicketPath(ticketFile), publicOnes.map(formatPublicTicket), PUBLIC_MODE);
  }
  if (readTicketFile !== undefined) {
    const tickets = all.map(({ readTicket }) => formatTicket(readTicket()));
    await writeLines(readTicketFile, tickets, SECRET_MODE);
  }
}

/**
 * Whether the ticket can be written there, before anything is done.
 * @param target which would be replaced by it.
 * @throws TransferError `usage`.
 */
export async function checkTicketFile(path: string, target: string): Promise<void> {
  const problem = await findOutputProblem(path, { path: target, name: 'target' });
  if (problem === undefined) return;
  const message = `cannot write the ticket to ${path}: ${problem.reason}`;
  throw new TransferError('usage', message, { hint: problem.hint });
}

async function writeLines(path: string, tickets: readonly string[], mode: number): Promise<void> {
  try {
    await writeFileDurably(path, tickets.map((ticket) => `${ticket}\n`).join(''), mode);
  } catch (error) {
    const isFull = ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '');
    const message = `cannot write the ticket to ${path}: ${reasonOf(error)}`;
    throw new TransferError(isFull ? 'no-space' : 'usage', message, { cause: error });
  }
}
