/**
 * A process of the receiver: it starts like start.ts, responds like app.ts and the routes, without HTTP, and
 * ends in every way in which a process can.
 */
import { formatAreas } from '../../common/areas.ts';
import { digestText } from '../../common/digest/digest-names.ts';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf, type BlockIndex } from '../../common/geometry.ts';
import { ENCODED_GROWTH_BYTES_MAX, TYPE_DIGESTS, type BlockResult } from '../../common/protocol/protocol.ts';
import type { Slab } from '../../common/io/buffers.ts';
import { makeSigningKey, type SigningKey } from '../../common/trust/ssh-signature.ts';
import { claimTransfer } from '../../receiver/transfer/claim.ts';
import { copyBlock } from '../../receiver/transfer/copy-block.ts';
import { listBlocks } from '../../receiver/http/listing.ts';
import { refuseOtherDisk } from '../../receiver/transfer/spot-check.ts';
import { sealTransfer } from '../../receiver/transfer/seal.ts';
import { Transfer, type OpenTransfer } from '../../receiver/transfer/transfer.ts';
import { lengthMismatch } from '../../receiver/transfer/refusals.ts';
import { reopen } from '../../receiver/transfer/reopen.ts';
import { cutTarget, restoreLength } from '../../receiver/transfer/stream-size.ts';
import { writeBlock, writeZeroBlocks } from '../../receiver/transfer/write-block.ts';
import { fillStamps } from './contents.ts';
import type { Answer, Request, SentBlock } from './requests.ts';
import { SimProcess, clockOf } from './scheduler.ts';
import { SimJournal } from './sim-journal.ts';
import { SimTarget } from './sim-target.ts';
import type { ReceiverProcess, World } from './world.ts';

const MEMORY_WAIT_MS = 10_000;
const BODY_STALL_MS = 60_000;
const STOP_GRACE_MS = 10_000;
/** Not used here; the same in every run. */
const KEY: SigningKey = makeSigningKey(Buffer.alloc(32, 1));

export class SimReceiver implements ReceiverProcess {
  readonly process: SimProcess;
  transfer: Transfer | undefined;
  isListening = false;
  answering = 0;
  readonly #world: World;
  readonly #target: SimTarget;
  #isDraining = false;
  readonly #sealsAskedMs = new Set<{ readonly atMs: number }>();

  constructor(world: World, name: string) {
    this.#world = world;
    this.process = new SimProcess(name);
    this.#target = new SimTarget(world, this.process);
  }

  /** @throws TransferError as `startReceiver` does: the process does not start. */
  async start(): Promise<void> {
    const { scheduler, profile, contents, random } = this.#world;
    const fault = this.#world.ask('open');
    await scheduler.pause(this.#world.latency(profile.diskMs), this.process, 'open');
    if (fault === 'openRefused') throw new TransferError('state-refused', 'cannot open the journal: EIO');
    const slabBytes = profile.geometry.blockSizeBytes + ENCODED_GROWTH_BYTES_MAX;
    this.transfer = new Transfer({
      target: this.#target,
      journal: new SimJournal(this.#world, this.process),
      memoryBytes: profile.receiverSlabs * slabBytes,
      connectionsMax: 64,
      isReadBack: profile.isReadBack,
      clock: clockOf(scheduler, this.process),
      digests: contents.digests.ports,
      events: {
        onEpochEnd: (_error, lostBlocks) => {
          this.#world.epochEnds++;
          scheduler.trace('epochEnd', lostBlocks);
        },
        onJournalBroken: ({ code }) => {
          if (!this.process.isAlive) return;
          if (code === 'no-space') this.#world.violate('a journal that is only full ends the receiver');
          this.#world.endReceiver('exit');
        },
        onMismatch: (index, _offset, count) => {
          this.#world.mismatches++;
          this.#world.disk.tell(index);
          scheduler.trace('mismatch', index, count);
        },
        onChanged: (index) => {
          this.#world.changes++;
          this.#world.disk.tell(index);
          scheduler.trace('changed', index);
        },
        onForeignWrite: (bytes) => {
          scheduler.trace('foreign');
          if (this.#world.faults.hitsOf('foreignWrite') === 0) {
            this.#world.violate(`nobody else has written, and ${bytes} bytes of others are said to be there`);
          }
        },
      },
    });
    const { opened } = this.transfer;
    if (opened !== undefined) {
      await refuseOtherDisk(this.transfer.target, opened, random.below);
      await cutTarget(this.transfer, opened);
      await restoreLength(this.transfer);
    }
    this.transfer.startVerifying();
    this.isListening = true;
  }

  get sealAskedMs(): number {
    return Math.min(...Array.from(this.#sealsAskedMs, ({ atMs }) => atMs));
  }

  /** SIGTERM: refuses what comes, lets what is there end, flushes. */
  async stop(): Promise<void> {
    const clock = clockOf(this.#world.scheduler, this.process);
    this.#isDraining = true;
    for (let waitedMs = 0; this.answering > 0 && waitedMs < STOP_GRACE_MS; waitedMs += 100) {
      await clock.sleep(100);
    }
    const open = this.transfer?.opened;
    try {
      await open?.durability.flush();
    } finally {
      open?.durability.close();
      await open?.verifier?.stop();
    }
  }

  /** Never rejects. */
  async answer(request: Request): Promise<Answer> {
    const transfer = this.transfer;
    if (transfer === undefined) throw new Error('not started');
    this.answering++;
    let body: Buffer = Buffer.alloc(0);
    let error: TransferError | undefined;
    try {
      if (this.#isDraining) throw new TransferError('draining', 'the receiver is stopping');
      body = await this.#handle(transfer, request);
    } catch (thrown) {
      if (thrown instanceof TransferError) error = thrown;
      else this.#world.violate(`a bug of the receiver in ${request.kind}: ${String(thrown)}`);
    }
    this.answering--;
    const { epoch, durableGeneration, verifiedCount } = transfer;
    return { info: { epoch, durableGeneration, verifiedCount }, body, error };
  }

  async #handle(transfer: Transfer, request: Request): Promise<Buffer> {
    switch (request.kind) {
      case 'transfer':
        return json(transfer.status());
      case 'claim':
        await claimTransfer(transfer, request.claim);
        return json(transfer.status());
      case 'list': {
        const query = (name: string): string | undefined =>
          name === 'from' ? String(request.from) : name === 'count' ? String(request.count) : undefined;
        return Buffer.concat([...listBlocks(transfer.claimed(), query, TYPE_DIGESTS).chunks]);
      }
      case 'head':
        return head(transfer.claimed(), request.index);
      case 'get':
        return await this.#get(transfer, request.index);
      case 'put':
        return await this.#put(transfer, request.block);
      case 'copy':
        return await this.#copy(transfer, request);
      case 'zero':
        transfer.writable();
        return json(await writeZeroBlocks(transfer, request.ranges, false));
      case 'flush':
        await transfer.claimed().durability.flush();
        return json({});
      case 'reopen':
        reopen(transfer);
        return json(transfer.status());
      case 'verify':
        if (transfer.adopted().verifier === undefined) throw new TransferError('state-refused', 'not read');
        transfer.readAgain();
        return json(transfer.status());
      case 'complete':
        return await this.#complete(transfer, request);
    }
  }

  /** Like `putBlock` of the routes: claim, memory, body, length and digest, and only then the target. */
  async #put(transfer: Transfer, block: SentBlock): Promise<Buffer> {
    const open = transfer.writable();
    const index = indexIn(open, block.index);
    const lengthBytes = lengthOf(index, open.geometry);
    if (block.lengthBytes !== lengthBytes) throw lengthMismatch(lengthBytes, block.lengthBytes);
    using slab = await this.#takeSlab(open);
    const { scheduler } = this.#world;
    await scheduler.pause(block.fate === 'stalled' ? BODY_STALL_MS : block.bodyMs, this.process, 'body');
    if (block.fate === 'stalled') throw new TransferError('too-slow', 'no byte of the body came');
    if (block.fate === 'cut') throw new TransferError('connection-failed', 'the connection was cut');
    fillStamps(slab.bytes, block.stamps());
    const bytes = slab.bytes.subarray(0, lengthBytes);
    if (!(await open.digest.of(bytes)).equals(block.digest)) {
      throw new TransferError('digest-mismatch', `the body of block ${index} has another digest`);
    }
    const { digest, unreadable, isFlushed } = block;
    const writesBefore = this.#target.writesOf(block.index);
    const { receipt } = await writeBlock(transfer, { index, bytes, digest, unreadable, isFlushed });
    if (isFlushed) this.#checkDurable(receipt, digest, writesBefore);
    return json(receipt);
  }

  /** As `postCopy` of the routes. */
  async #copy(
    transfer: Transfer,
    { from, to, digest }: { from: number; to: number; digest: Buffer },
  ): Promise<Buffer> {
    const open = transfer.writable();
    const blocks = { from: indexIn(open, from), to: indexIn(open, to) };
    const { receipt } = await copyBlock(
      transfer,
      { ...blocks, digest, isFlushed: false },
      async () => await this.#takeSlab(open),
    );
    this.#world.copies++;
    return json(receipt);
  }

  /** Unless it has been written again since, or the disk has lied. */
  #checkDurable({ index, state }: BlockResult, digest: Buffer, writesBefore: number): void {
    const isListed = this.#world.journal.blocks.get(index)?.digest.equals(digest) === true;
    const isReplaced = this.#target.writesOf(index) > writesBefore + 1 || this.#world.mismatches > 0;
    if (state !== 'durable' || !(isListed || isReplaced))
      this.#world.violate(`block ${index} is not durable`);
  }

  /** Like `getBlock` of the routes. Whatever happens, a person gets the block as it is listed. */
  async #get(transfer: Transfer, number: number): Promise<Buffer> {
    const open = transfer.claimed();
    const index = indexIn(open, number);
    using _lock = await open.locks.lock(index, 1);
    if (open.table.stateOf(index) === 'absent') throw new TransferError('block-absent', 'not on the target');
    using slab = await this.#takeSlab(open);
    const bytes = slab.bytes.subarray(0, lengthOf(index, open.geometry));
    await transfer.target.read(bytes, offsetOf(index, open.geometry));
    return Buffer.from(bytes);
  }

  async #complete(transfer: Transfer, request: { blockCount: number; root: Buffer }): Promise<Buffer> {
    const { scheduler, sign } = this.#world;
    const options = {
      key: KEY,
      clock: clockOf(scheduler, this.process),
      ...(sign === undefined ? {} : { sign }),
    };
    const asked = { atMs: scheduler.nowMs };
    this.#sealsAskedMs.add(asked);
    const result = await sealTransfer(transfer, request, options).finally(() =>
      this.#sealsAskedMs.delete(asked),
    );
    if (result.outcome === 'verifying') return Buffer.alloc(0);
    return json({ text: result.receipt.json, signature: result.receipt.signature });
  }

  async #takeSlab(open: OpenTransfer): Promise<Slab> {
    const timeout = new AbortController();
    const event = this.#world.scheduler.after(MEMORY_WAIT_MS, this.process, 'memory', () =>
      timeout.abort(new TransferError('busy', 'all memory for blocks is in use', { retryAfterSeconds: 1 })),
    );
    const slab = await open.slabs.take(timeout.signal);
    event.isCancelled = true;
    return slab;
  }
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** As `indexOf` of the routes. */
function indexIn(open: OpenTransfer, index: number): BlockIndex {
  if (index < open.blockCount) return blockIndexOf(index, open.geometry);
  throw new TransferError('block-out-of-range', `no block ${index}: the transfer has ${open.blockCount}`);
}

/** The headers of a HEAD, as JSON. */
function head(open: OpenTransfer, number: number): Buffer {
  const index = indexIn(open, number);
  const state = open.table.stateOf(index);
  if (state === 'absent') throw new TransferError('block-absent', `block ${index} is not on the target`);
  const etag = `"${digestText(open.digest.algorithm, open.table.digestOf(index))}"`;
  const sourceErrors = formatAreas(open.table.unreadable.of(index));
  return json({ etag, state, generation: String(open.durability.generationOf(index)), sourceErrors });
}
