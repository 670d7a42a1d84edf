/** Power cuts: the caches of the disk and of the file system with the journal are lost. */
import assert from 'node:assert/strict';
import { symlink, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { checkJournal } from '../support/journal-check.ts';
import { blockOf, claimByHand, putByHand } from '../support/by-hand.ts';
import { BLOCK_BYTES, SMALL_BLOCKS, assertCopied, randomSource } from '../support/copied.ts';
import { cachingDisk, skipUnlessFaultDisk, type NbdDisk } from '../support/fault-disk.ts';
import { loopDevice, mountPoint, mounted, type LoopDevice } from '../support/loop-device.ts';
import { MIB, runSender, startSender, until, Receiver } from '../support/processes.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { unlessInstalled } from '../support/requires.ts';
import { runOk } from '../support/run.ts';
import { tempDir, type TempDir } from '../support/temp-dir.ts';

const skip = skipUnlessFaultDisk || unlessInstalled('xfs_io');

/** A machine whose disks forget what was not flushed. */
class Machine implements AsyncDisposable {
  readonly receiver: Receiver;
  readonly #folder: TempDir;
  readonly #sizeBytes: number;
  readonly #stateDisk: LoopDevice;
  readonly #stateMount: TempDir;
  #disk: NbdDisk | undefined;
  #isOn = false;

  private constructor(parts: {
    folder: TempDir;
    stateDisk: LoopDevice;
    stateMount: TempDir;
    sizeBytes: number;
  }) {
    this.#folder = parts.folder;
    this.#stateDisk = parts.stateDisk;
    this.#stateMount = parts.stateMount;
    this.#sizeBytes = parts.sizeBytes;
    this.receiver = new Receiver({
      target: join(parts.folder.path, 'target'),
      folder: parts.stateMount.path,
    });
  }

  static async make(sizeBytes: number): Promise<Machine> {
    const folder = await tempDir();
    const stateDisk = await loopDevice(32 * MIB, { directIo: true });
    await runOk('mkfs.ext4', ['-q', '-F', stateDisk.path]);
    const machine = new Machine({ folder, stateDisk, stateMount: await mountPoint(), sizeBytes });
    await machine.switchOn();
    return machine;
  }

  get medium(): string {
    return join(this.#folder.path, 'medium');
  }

  /** Starts the disks and the receiver; the disk may get another name. */
  async switchOn(): Promise<void> {
    await runOk('mount', [this.#stateDisk.path, this.#stateMount.path]);
    this.#isOn = true;
    this.#disk = await cachingDisk({ folder: this.#folder.path, sizeBytes: this.#sizeBytes });
    await rm(join(this.#folder.path, 'target'), { force: true });
    await symlink(this.#disk.path, join(this.#folder.path, 'target'));
    await this.receiver.start();
  }

  /** Atomic for the receiver, which is stopped meanwhile. */
  async cutPower(): Promise<void> {
    this.receiver.process.kill('SIGSTOP');
    await this.#disk?.cutPower();
    await runOk('xfs_io', ['-x', '-c', 'shutdown', this.#stateMount.path]);
    await this.#switchOff();
  }

  async #switchOff(): Promise<void> {
    if (!this.#isOn) return;
    this.#isOn = false;
    await this.receiver.end('SIGKILL');
    await this.#disk?.[Symbol.asyncDispose]();
    await runOk('umount', [this.#stateMount.path]);
  }

  /** What a rescue system would find. */
  async check(): Promise<{ durable: readonly number[] }> {
    await using state = await mounted(this.#stateDisk.path);
    const check = await checkJournal(join(state.path, 'state'), this.medium);
    assert.deepEqual(check.wrong, [], 'blocks that are listed but not on the medium');
    return check;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#switchOff();
    await this.#stateMount[Symbol.asyncDispose]();
    await this.#stateDisk[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

test('a power cut loses what was not flushed, and nothing that the journal lists', { skip }, async () => {
  await using folder = await tempDir();
  const blocks = 16;
  const path = await randomSource(folder.path, blocks);
  const source = await readFile(path);
  await using machine = await Machine.make(source.length);
  const { client } = machine.receiver;
  await claimByHand(client, source.length, path);
  for (let index = 0; index < 8; index++)
    assert.equal(await putByHand(client, index, blockOf(source, index)), 201);
  for (let index = 8; index < 16; index++) {
    assert.equal(await putByHand(client, index, blockOf(source, index), 'n'), 202);
  }
  // Over a block that is already durable.
  assert.equal(await putByHand(client, 3, blockOf(source, 9), 'n'), 202);
  await machine.cutPower();
  assert.deepEqual((await machine.check()).durable, [0, 1, 2, 4, 5, 6, 7]);
  const onMedium = (await readFile(machine.medium)).subarray(8 * BLOCK_BYTES);
  assert(onMedium.equals(Buffer.alloc(onMedium.length)), 'the disk kept what was not flushed');
  await machine.switchOn();
  const sending = await runSender([...SMALL_BLOCKS, '--ticket-file', machine.receiver.ticketFile, path]);
  assert.equal(sending.status, 0, sending.stderr);
  // A proof has to survive the worst moment.
  await machine.cutPower();
  await assertCopied(sending, path, machine.medium);
  assert.equal((await machine.check()).durable.length, blocks);
});

test('a sender resumes after a power cut at a random moment', { skip }, async (context) => {
  const seed = freshSeed();
  context.diagnostic(`DDT_TEST_SEED=${seed}`);
  const random = prng(seed);
  await using folder = await tempDir();
  const blocks = 1024;
  const source = await randomSource(folder.path, blocks, seed);
  await using machine = await Machine.make(blocks * BLOCK_BYTES);
  const ticket = await readFile(machine.receiver.ticketFile, 'utf8');
  await using sender = await startSender([...SMALL_BLOCKS, source, ticket.trim()]);
  await until('the first flush', async () => (await machine.receiver.durableCount()) > 0);
  await delay(random.below(1500));
  await machine.cutPower();
  context.diagnostic(`${(await machine.check()).durable.length} of ${blocks} blocks were durable`);
  await machine.switchOn();
  const sending = await sender.ended;
  await machine.cutPower();
  await assertCopied(sending, source, machine.medium);
});
