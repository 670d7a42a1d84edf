/**
 * From a log of strace(1) to the order in which bytes became safe: what happened before what, for each
 * block.
 */
import { BLOCK_BYTES } from './copied.ts';

type Place = 'target' | 'journal' | 'socket';

/** A system call, from the line at which it began to the line at which it ended. */
interface Call {
  readonly kind: 'write' | 'sync';
  readonly place: Place;
  readonly offset: number;
  readonly began: number;
  ended: number;
  isDone: boolean;
}

const TRACED =
  /^(\d+) +[\d.]+ (pwrite64|pwritev|write|writev|sendmsg|sendto|fdatasync|fsync)\((\d+)<([^>]*)>(.*)$/;
const RESUMED = /^(\d+) +[\d.]+ <\.\.\. \w+ resumed>(.*)$/;

/** What to trace for {@link callsOf}. */
export const ORDER_CALLS = 'pwrite64,pwritev,write,writev,sendmsg,sendto,fdatasync,fsync';

/** The calls on target, journal and sockets of a log made with -f -ttt -T -y. @param target its path. */
export function callsOf(log: string, target: string): Call[] {
  const calls: Call[] = [];
  const unfinished = new Map<string, Call>();
  for (const [line, text] of log.split('\n').entries()) {
    const resumed = RESUMED.exec(text);
    if (resumed !== null) {
      const call = unfinished.get(resumed[1] ?? '');
      if (call !== undefined) end(call, line, resumed[2] ?? '');
      unfinished.delete(resumed[1] ?? '');
      continue;
    }
    const [, thread = '', name = '', , path = '', rest = ''] = TRACED.exec(text) ?? [];
    const place = placeOf(path, target);
    if (place === undefined) continue;
    const offset = Number(/, (\d+)(?:\)| <unfinished)/.exec(rest)?.[1] ?? 0);
    const kind = name.endsWith('sync') ? 'sync' : 'write';
    const call: Call = { kind, place, offset, began: line, ended: Infinity, isDone: false };
    calls.push(call);
    if (rest.includes('<unfinished')) unfinished.set(thread, call);
    else end(call, line, rest);
  }
  return calls;
}

function end(call: Call, line: number, result: string): void {
  call.ended = line;
  call.isDone = / = \d/.test(result);
}

function placeOf(path: string, target: string): Place | undefined {
  if (path === target) return 'target';
  if (/journal\.db(-wal|-journal)?$/.test(path)) return 'journal';
  return /^(socket|TCP)/.test(path) ? 'socket' : undefined;
}

/**
 * The order oracle, for a receiver that was sent blocks one after the other, each with `flush=y`: the
 * block's bytes, then a flush of the target, then the journal, then a flush of the journal, then the
 * answer; and where the journal listed the block already, before all that the journal without it, flushed.
 * @param blocks in the order of sending; `wasListed` of one that had been durable before.
 * @returns what is out of order, one sentence each.
 */
export function disorderOf(
  calls: readonly Call[],
  blocks: readonly { readonly index: number; readonly wasListed: boolean }[],
): string[] {
  const found: string[] = [];
  let from = -1;
  for (const { index, wasListed } of blocks) {
    const put = first(calls, 'write', 'target', from, (call) => call.offset === index * BLOCK_BYTES);
    if (put === undefined) return [...found, `block ${index} was never written`];
    const answer = first(calls, 'write', 'socket', put.ended);
    if (answer === undefined) return [...found, `block ${index} was never answered`];
    const complain = (what: string): void => void found.push(`block ${index}: ${what}`);
    if (wasListed && !isJournalled(calls, from, put.began))
      complain('overwritten before the journal forgot it');
    const flush = first(calls, 'sync', 'target', put.ended, (call) => call.isDone);
    if (flush === undefined || flush.ended > answer.began) complain('answered before the target was flushed');
    const early = first(calls, 'write', 'journal', put.ended);
    if (early !== undefined && early.began < (flush?.ended ?? Infinity) && early.began < answer.began) {
      complain('journalled before the target was flushed');
    }
    if (!isJournalled(calls, put.ended, answer.began)) complain('answered before the journal was flushed');
    from = answer.ended;
  }
  return found;
}

/** Whether the journal was written and then flushed between two lines. */
function isJournalled(calls: readonly Call[], from: number, until: number): boolean {
  const write = first(calls, 'write', 'journal', from);
  if (write === undefined || write.ended > until) return false;
  const sync = first(calls, 'sync', 'journal', write.ended, (call) => call.isDone);
  if (sync === undefined || sync.ended > until) return false;
  const later = first(calls, 'write', 'journal', sync.ended);
  return later === undefined || later.began > until;
}

function first(
  calls: readonly Call[],
  kind: Call['kind'],
  place: Place,
  after: number,
  isMeant: (call: Call) => boolean = () => true,
): Call | undefined {
  return calls.find(
    (call) => call.kind === kind && call.place === place && call.began > after && isMeant(call),
  );
}
