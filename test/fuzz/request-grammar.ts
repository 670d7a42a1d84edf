/** Requests to a receiver from random numbers: whole ones, ones with something wrong, and garbled ones. */
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Random } from '../simulation/random.ts';
import {
  BLOCK_BYTES,
  BLOCK_COUNT,
  CLAIM,
  CONTENTS,
  hexOf,
  lengthOf,
  type FuzzBlocks,
} from './fuzz-blocks.ts';
import {
  EDIT_KINDS,
  NASTY_TEXTS,
  NASTY_VALUES,
  NESTED,
  applyEdit,
  changedJson,
  type Change,
  type Edit,
} from './mutations.ts';

import {
  ODD_HEADERS,
  ODD_METHODS,
  ODD_PATHS,
  bytesOf,
  draftOf,
  percentEncoded,
  type Draft,
  type Outcome,
  type Writes,
} from './request-draft.ts';

export interface FuzzRequest {
  readonly method: string;
  readonly bytes: Buffer;
  readonly outcome: Outcome;
  /** The server may wait for more, or answer more than once: nothing can follow on the same connection. */
  readonly isGarbled: boolean;
  /** What it may write where. */
  readonly writes: Writes;
  /** What it may write anywhere. */
  readonly strays: readonly string[];
}

export interface GrammarFacts {
  readonly token: string;
  /** None of them may be accepted. */
  readonly badTokens: readonly string[];
  readonly blocks: FuzzBlocks;
  /** Every write and reopening has to be refused. */
  readonly isSealed: boolean;
}

const BOMBS = [zstdCompressSync(Buffer.alloc(4_000_000)), gzipSync(Buffer.alloc(4_000_000))] as const;
const ZERO_HEX = [0, BLOCK_COUNT - 1].map((index) => hexOf(Buffer.alloc(lengthOf(index))));
export class RequestGrammar {
  readonly #random: Random;
  readonly #facts: GrammarFacts;

  constructor(random: Random, facts: GrammarFacts) {
    this.#random = random;
    this.#facts = facts;
  }

  next(): FuzzRequest {
    const random = this.#random;
    const draft = this.#draft();
    if (random.chance(0.12)) this.#distrust(draft);
    else draft.headers.push(['authorization', `Bearer ${this.#facts.token}`]);
    const isOdd = random.chance(0.15);
    if (isOdd) this.#makeOdd(draft);
    const bytes = bytesOf(draft);
    const { method, outcome, writes, strays, offered } = draft;
    if (!isOdd && !random.chance(0.25)) return { method, bytes, outcome, isGarbled: false, writes, strays };
    // Moved to another path or cut elsewhere, what it writes may land anywhere.
    const anywhere = [...strays, ...offered, ...writes.map(([, hex]) => hex)];
    const garbled = isOdd && random.chance(0.7) ? bytes : this.#garbled(bytes);
    return { method, bytes: garbled, outcome: 'any', isGarbled: true, writes: [], strays: anywhere };
  }

  #draft(): Draft {
    const random = this.#random;
    const kind = random.below(100);
    if (kind < 45) return this.#put();
    if (kind < 55) return this.#zero();
    if (kind < 60) return this.#copy();
    if (kind < 65) return this.#claim();
    if (kind < 66) return this.#complete();
    if (kind < 76) return this.#blockRead();
    if (kind < 86) return this.#listing();
    return this.#simple();
  }

  #put(): Draft {
    const random = this.#random;
    const index = random.below(BLOCK_COUNT);
    const content = this.#facts.blocks.of(index, random.below(CONTENTS));
    const { bytes, hex } = content;
    const draft = draftOf('PUT', `/blocks/${index}`);
    draft.outcome = 'accepted';
    draft.writes = [[index, hex]];
    draft.offered = [hex];
    draft.body = bytes;
    const encoding = random.pick(['', '', '', 'zstd', 'gzip'] as const);
    if (encoding !== '') {
      draft.body = this.#facts.blocks.encoded(content, encoding);
      draft.headers.push(['content-encoding', encoding]);
    }
    this.#addDigest(draft, hex);
    this.#addFlush(draft);
    const hasArea = random.chance(0.1);
    if (hasArea) draft.headers.push(['ddt-source-errors', `${index * BLOCK_BYTES}+512`]);
    if (random.chance(0.05)) {
      draft.headers.push(['if-none-match', random.pick(['*', `"${hex}"`])]);
      draft.outcome = 'any';
    }
    if (random.chance(0.1)) draft.headers.push(['expect', '100-continue']);
    if (random.chance(0.15)) draft.isChunked = true;
    if (random.chance(0.35)) this.#spoilPut(draft, index, hex);
    // What could not be read is zeros.
    const isFilled = hasArea && bytes.subarray(0, 512).some((byte) => byte !== 0);
    if (this.#facts.isSealed || isFilled)
      Object.assign(draft, { outcome: 'refused', writes: [], strays: [] });
    if (this.#facts.isSealed) draft.offered = [];
    return draft;
  }

  #addDigest(draft: Draft, hex: string): void {
    const field = `sha-256=:${Buffer.from(hex, 'hex').toString('base64')}:`;
    const isPlain = draft.headers.every(([name]) => name !== 'content-encoding');
    const form = this.#random.below(isPlain ? 3 : 2);
    if (form === 0) draft.query.push(`digest=sha256:${hex}`);
    else if (form === 1) draft.headers.push(['unencoded-digest', field]);
    else draft.headers.push(['content-digest', field]);
  }

  #addFlush(draft: Draft): void {
    if (this.#random.chance(0.8)) draft.query.push('flush=n');
  }

  /** One thing that has to be refused before the target is touched. */
  #spoilPut(draft: Draft, index: number, hex: string): void {
    const random = this.#random;
    const body = draft.body ?? Buffer.alloc(0);
    draft.outcome = 'refused';
    draft.writes = [];
    switch (random.below(9)) {
      case 0:
        draft.body = Buffer.from(body);
        flipIn(draft.body, random.below(body.length), 1 + random.below(255));
        this.#mayDecode(draft, hex);
        break;
      case 1:
        draft.body = body.subarray(0, random.below(body.length));
        break;
      case 2:
        draft.body = Buffer.concat([body, Buffer.alloc(1 + random.below(70_000))]);
        this.#mayDecode(draft, hex);
        break;
      case 3:
        draft.path = `/blocks/${BLOCK_COUNT + random.below(1000)}`;
        break;
      case 4:
        draft.query.push(`digest=sha256:${hexOf(Buffer.from(hex))}`);
        draft.headers.push(['unencoded-digest', `sha-256=:${Buffer.from(hex, 'hex').toString('base64')}:`]);
        break;
      case 5:
        draft.query.push(random.pick(['flush=maybe', 'flush=%E2%80%AE%1b[2J', 'flush=y', 'digest=md5:0']));
        draft.outcome = 'any';
        draft.strays.push(hex);
        break;
      case 6:
        draft.headers.push(['content-range', 'bytes 0-511/65536']);
        break;
      case 7:
        draft.body = random.pick(BOMBS);
        draft.headers.push(['content-encoding', draft.body === BOMBS[0] ? 'zstd' : 'gzip']);
        break;
      default:
        draft.headers.push(['ddt-source-errors', `${(index + 1) * BLOCK_BYTES}+512`]);
    }
  }

  /** A decoder may ignore a changed byte, and what follows the end. */
  #mayDecode(draft: Draft, hex: string): void {
    if (draft.headers.every(([name]) => name !== 'content-encoding')) return;
    draft.outcome = 'any';
    draft.strays.push(hex);
  }

  #zero(): Draft {
    const random = this.#random;
    const first = random.below(BLOCK_COUNT);
    const count = 1 + random.below(Math.min(4, BLOCK_COUNT - first));
    const draft = this.#json('POST', '/zero', { ranges: [[first, count]] }, ZERO_HEX);
    const indexes = Array.from({ length: count }, (_, at) => first + at);
    if (draft.outcome === 'accepted' && !this.#facts.isSealed) {
      draft.writes = indexes.map((index) => [index, this.#facts.blocks.of(index, 0).hex]);
    }
    if (this.#facts.isSealed) draft.outcome = 'refused';
    this.#addFlush(draft);
    return draft;
  }

  #copy(): Draft {
    const random = this.#random;
    const [from, to] = [random.below(BLOCK_COUNT), random.below(BLOCK_COUNT)];
    const { hex } = this.#facts.blocks.of(random.pick([from, to]), random.below(CONTENTS));
    const draft = this.#json('POST', '/copy', { from, to, digest: `sha256:${hex}` }, [hex]);
    // Only if `from` holds just this.
    draft.outcome = this.#facts.isSealed ? 'refused' : 'any';
    if (!this.#facts.isSealed) draft.strays.push(hex);
    this.#addFlush(draft);
    return draft;
  }

  #claim(): Draft {
    // Names do not count when claims are compared, but the log shows them.
    const description = this.#random.pick(['a disk', '\u202eksid a', 'a\u2028disk', 'a\u001b[2Jdisk']);
    const claim = { ...CLAIM, source: { ...CLAIM.source, description } };
    const draft = this.#json('PUT', '/transfer', claim, []);
    const other = this.#random.pick<object>([
      { size: 5 },
      { blockSize: 131_072 },
      { digest: 'blake3' },
      { stream: true },
    ]);
    if (draft.outcome !== 'accepted' || !this.#random.chance(0.3)) return draft;
    return { ...draft, body: Buffer.from(JSON.stringify({ ...CLAIM, ...other })), outcome: 'refused' };
  }

  /** With a wrong root or count: the right root is nobody's guess. */
  #complete(): Draft {
    const root = `sha256:${hexOf(Buffer.from(String(this.#random.next())))}`;
    const draft = this.#json('POST', '/complete', { blockCount: BLOCK_COUNT, root }, []);
    draft.outcome = 'refused';
    return draft;
  }

  #blockRead(): Draft {
    const draft = draftOf(
      this.#random.pick(['GET', 'HEAD']),
      `/blocks/${this.#random.below(BLOCK_COUNT + 2)}`,
    );
    draft.outcome = 'any';
    return draft;
  }

  #listing(): Draft {
    const random = this.#random;
    const draft = draftOf(random.pick(['GET', 'HEAD']), '/blocks');
    draft.outcome = 'any';
    const whole = (): string =>
      random.pick([`${random.below(30)}`, percentEncoded(random.pick(NASTY_TEXTS))]);
    if (random.chance(0.5)) draft.query.push(`from=${whole()}`);
    if (random.chance(0.5)) draft.query.push(`count=${whole()}`);
    if (random.chance(0.3)) draft.query.push(`state=${random.pick(['missing', 'durable', 'any', whole()])}`);
    const accept = random.pick(['application/vnd.ddt.digests', 'text/plain', 'application/json', '*/*']);
    draft.headers.push(['accept', accept]);
    return draft;
  }

  #simple(): Draft {
    const { isSealed } = this.#facts;
    const [method, path, outcome] = this.#random.pick<[string, string, Draft['outcome']]>([
      ['GET', '/health', 'accepted'],
      ['GET', '/transfer', 'accepted'],
      ['HEAD', '/transfer', 'accepted'],
      ['POST', '/flush', 'accepted'],
      ['POST', '/verify', 'accepted'],
      ['POST', '/reopen', isSealed ? 'refused' : 'accepted'],
      ['GET', '/receipt', isSealed ? 'accepted' : 'refused'],
      ['GET', '/receipt?part=signature', isSealed ? 'accepted' : 'refused'],
    ]);
    const draft = draftOf(method, path);
    draft.outcome = outcome;
    return draft;
  }

  /** Accepted as it is; with changed members it may be anything. */
  #json(method: string, path: string, value: object, strays: readonly string[]): Draft {
    const random = this.#random;
    const draft = draftOf(method, path);
    draft.headers.push(['content-type', 'application/json']);
    draft.outcome = 'accepted';
    let text = JSON.stringify(value);
    if (random.chance(0.5)) {
      const changes = Array.from({ length: random.between(1, 3) }, () => this.#change());
      text = changedJson(value, changes);
      if (random.chance(0.2)) text = applyEdit(text, this.#edit());
      draft.outcome = 'any';
      if (!this.#facts.isSealed) draft.strays.push(...strays);
    }
    draft.body = Buffer.from(text);
    return draft;
  }

  #change(): Change {
    const random = this.#random;
    const value = random.chance(0.1) ? NESTED : random.pick(NASTY_VALUES);
    const kind = random.pick<Change['kind']>(['replace', 'replace', 'drop', 'double']);
    return { kind, at: random.below(0xffff), value };
  }

  #edit(): Edit {
    const random = this.#random;
    return {
      kind: random.pick(EDIT_KINDS),
      at: random.below(0xffff),
      length: random.pick([1, 2, 4, random.below(64)]),
      text: random.pick(NASTY_TEXTS),
    };
  }

  /** Everybody may ask for /health; nothing else may be done without a good token. */
  #distrust(draft: Draft): void {
    const token = this.#random.pick(['', ...this.#facts.badTokens]);
    if (token !== '') draft.headers.push(['authorization', `Bearer ${token}`]);
    if (draft.path === '/health') return;
    Object.assign(draft, { outcome: 'refused', writes: [], strays: [], offered: [] });
  }

  #makeOdd(draft: Draft): void {
    const random = this.#random;
    switch (random.below(4)) {
      case 0:
        draft.method = random.pick(ODD_METHODS);
        break;
      case 1:
        draft.path = random.pick(ODD_PATHS);
        break;
      default:
        draft.headers.splice(random.below(draft.headers.length + 1), 0, [...random.pick(ODD_HEADERS)]);
    }
  }

  /** Changed in its head more often than in its body, which is most of it. */
  #garbled(bytes: Buffer): Buffer {
    const random = this.#random;
    let text = bytes.toString('latin1');
    const headLength = text.indexOf('\r\n\r\n') + 4;
    for (let edits = random.between(1, 3); edits > 0; edits--) {
      const at = random.chance(0.8) ? random.below(headLength) : random.below(text.length);
      const kind = random.chance(0.3) ? 'cut' : undefined;
      const edit = this.#edit();
      text = applyEdit(text, { ...edit, kind: kind ?? edit.kind, at: at % (text.length + 1) });
    }
    return Buffer.from(text, 'latin1');
  }
}

function flipIn(bytes: Buffer, at: number, bits: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ bits;
}
