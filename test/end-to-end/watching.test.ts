/** The page of --web, in a real browser, beside real copies. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { startBrowser, WatchedPage } from '../support/browser.ts';
import { BLOCK_BYTES, SMALL_BLOCKS, assertOnMedium } from '../support/copied.ts';
import { prng } from '../support/prng.ts';
import {
  bounded,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
  type Receiver,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import { unlessInstalled } from '../support/requires.ts';
import type { Started } from '../support/run.ts';
import { tempDir, type TempDir } from '../support/temp-dir.ts';

const WEB = /^web {6}(http:\/\/\S+)$/;
const BLOCKS = 96;
/** Blocks of zeros among them, at the start. */
const ZEROS = 16;
/** What a browser would run, or show upside down, if it took it for more than text. */
const HOSTILE = [
  `<img src=x onerror="document.title='run'">">`,
  '<script>alert(1)<\\script>&amp;\u202Ekcab \u05D0\u05D1',
].join('');

interface Scene extends AsyncDisposable {
  readonly folder: TempDir;
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
  readonly relay: Relay;
  readonly receiverUrl: string;
  send(...options: readonly string[]): Promise<{ sender: Started; url: string }>;
}

/** @param holdAtBytes the line stands still there until it is released. */
async function scene(
  holdAtBytes?: number,
  sourceName = 'source.img',
  targetName = 'target.img',
): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const [source, target] = [join(folder.path, sourceName), join(folder.path, targetName)];
  const bytes = prng(11).bytes(BLOCKS * BLOCK_BYTES);
  bytes.fill(0, 0, ZEROS * BLOCK_BYTES);
  await writeFile(source, bytes);
  const receiver = stack.use(await startReceiver({ folder: folder.path, target, options: ['--web'] }));
  const to = { host: receiver.host, port: receiver.port };
  const relay = stack.use(await Relay.start({ to, ...(holdAtBytes === undefined ? {} : { holdAtBytes }) }));
  const ticketFile = await writeTicketVia(receiver, relay, join(folder.path, 'ticket-via'));
  const [, receiverUrl = ''] = await receiver.process.waitForLine(WEB);
  const moved = stack.move();
  return {
    folder,
    source,
    target,
    receiver,
    relay,
    receiverUrl,
    send: async (...options) => {
      const all = ['--ticket-file', ticketFile, '--progress', 'plain', ...SMALL_BLOCKS, ...options, source];
      const sender = moved.use(await startSender(all));
      const [, url = ''] = await sender.waitForLine(WEB);
      return { sender, url };
    },
    [Symbol.asyncDispose]: async () => await moved.disposeAsync(),
  };
}

const skip = unlessInstalled('chromium');
let browser: Browser;
before(async () => {
  if (skip === false) browser = await startBrowser();
});
after(async () => {
  if (skip === false) await browser.close();
});

test(
  'both sides show what GET /transfer says, also after a reload, and what is proven',
  { skip },
  async () => {
    await using world = await scene(50 * BLOCK_BYTES);
    const { sender, url } = await world.send('--web', '--compress', 'none');
    const [ours, theirs] = [
      await WatchedPage.open(browser, url),
      await WatchedPage.open(browser, world.receiverUrl),
    ];
    await until(
      'the line stands still',
      async () =>
        (await world.receiver.status()).blocks.written === 0 && world.relay.bytes >= 50 * BLOCK_BYTES,
    );
    const { blocks } = await world.receiver.status();
    assert(blocks.durable + blocks.verified > 0 && blocks.absent > 0, JSON.stringify(blocks));
    const both = { durable: blocks.durable + blocks.verified, absent: blocks.absent };
    await until('the receiver shows its table', async () => {
      const shown = await theirs.counts();
      const durable = (shown['durable: flushed and journalled'] ?? 0) + (shown['read back, equal'] ?? 0);
      return durable === both.durable && shown['not on the target'] === both.absent;
    });
    // What the next response of the receiver will say is not known yet.
    const there = (counts: Record<string, number>): number =>
      (counts['sent, durable on the target'] ?? 0) +
      (counts['written there, not known to be durable yet'] ?? 0);
    await until('the sender shows them', async () => there(await ours.counts()) === both.durable);
    const mine = await ours.counts();
    assert((mine['on its way'] ?? 0) > 0 && (mine['read, waiting for its turn'] ?? 0) >= ZEROS);
    const sum = (counts: Record<string, number>): number =>
      Object.values(counts).reduce((one, two) => one + two, 0);
    assert.equal(sum(mine), BLOCKS);
    await ours.page.reload();
    await ours.shows('#link', /^Live$/);
    await until('the same after a reload', async () => {
      const counts = await ours.counts();
      return sum(counts) === BLOCKS && there(counts) === both.durable;
    });
    await ours.shows('#messages', new RegExp(`source.*${world.source}`));
    await ours.shows('#disks', new RegExp(`${world.source}: regular file`));
    world.relay.release();
    assert.equal((await sender.ended).status, 0, sender.stderr);
    await ours.shows('#result', /^Proven equal\n+Every byte on /);
    await ours.shows('#link', /^The program has ended/);
    await theirs.shows('#result', /^Proven equal/);
    assert.deepEqual(await theirs.counts(), { 'read back, equal': BLOCKS });
    assert.deepEqual(await ours.counts(), {
      'sent, read back, equal': BLOCKS - ZEROS,
      'zeros, durable on the target': ZEROS,
    });
    ours.assertClean(url);
    theirs.assertClean(world.receiverUrl);
    await assertOnMedium(world.source, world.target);
  },
);

test('a sender that is killed is missed, and its next run is shown in the same page', { skip }, async () => {
  await using world = await scene(50 * BLOCK_BYTES);
  const keyFile = join(world.folder.path, 'web-key');
  const { sender, url } = await world.send('--web', '--web-key-file', keyFile);
  const { port, hash } = new URL(url);
  assert.equal(hash.slice(1), (await readFile(keyFile, 'utf8')).trim());
  const page = await WatchedPage.open(browser, url);
  await page.shows('#headline', /^Copying: /);
  await until('something is durable', async () => (await world.receiver.durableCount()) > 0);
  sender.kill('SIGKILL');
  await sender.ended;
  await page.shows('#link', /^No answer from the program/);
  assert.notDeepEqual(await page.counts(), {}, 'its last state stays');
  world.relay.release();
  const again = await world.send('--web', port, '--web-key-file', keyFile, '--bwlimit', '512K');
  assert.equal(again.url, url);
  await page.shows('#result', /^Proven equal/);
  assert(((await page.counts())['was there already, equal'] ?? 0) > 0);
  assert.equal((await again.sender.ended).status, 0);
  page.assertClean(url);
});

test('a hostile name of a disk is only text, whatever it holds', { skip }, async () => {
  await using world = await scene(50 * BLOCK_BYTES, HOSTILE, `2${HOSTILE}`);
  const { sender, url } = await world.send('--web');
  const [ours, theirs] = [
    await WatchedPage.open(browser, url),
    await WatchedPage.open(browser, world.receiverUrl),
  ];
  for (const shown of [ours, theirs]) {
    await shown.shows('#disks', /<img src=x onerror="document\.title='run'">"><script>alert\(1\)/);
    await shown.shows('#messages', /<script>/);
  }
  sender.kill('SIGINT');
  await sender.ended;
  await ours.shows('#result', /^Not complete/);
  for (const shown of [ours, theirs]) {
    assert.equal(await shown.page.locator('img').count(), 0);
    assert.equal(await shown.page.locator('main script, bdi *').count(), 0);
    assert.doesNotMatch(await shown.page.title(), /^run$/);
    assert.doesNotMatch(await shown.text(), /\u202E/);
    assert.deepEqual(shown.trouble, []);
  }
  const token = world.receiver.token;
  assert.doesNotMatch(await ours.page.content(), new RegExp(token.slice(10, 40)));
});

test('a wrong key, and none, learn nothing', { skip }, async () => {
  await using world = await scene(50 * BLOCK_BYTES);
  const { url } = await world.send('--web');
  const { origin } = new URL(url);
  for (const [address, why] of [
    [`${origin}/#${'x'.repeat(32)}`, /key is not the one/],
    [`${origin}/`, /key is missing/],
  ] as const) {
    const page = await WatchedPage.open(browser, address);
    await page.shows('#link', why);
    assert.doesNotMatch(await page.text(), new RegExp(`${world.source}|${world.target}|Copying`));
    assert.deepEqual(await page.counts(), {});
  }
});

test('a page of another origin gets nothing, and can show nothing in a frame', { skip }, async () => {
  await using world = await scene(50 * BLOCK_BYTES);
  const { url } = await world.send('--web');
  const page = await (await browser.newContext()).newPage();
  await page.goto(world.receiverUrl);
  const result = await page.evaluate(
    async ({ origin, key }) => {
      const headers = { authorization: `Bearer ${key}` };
      return await fetch(`${origin}/copies`, { headers }).then(
        () => 'read',
        () => 'refused',
      );
    },
    { origin: new URL(url).origin, key: new URL(url).hash.slice(1) },
  );
  assert.equal(result, 'refused');
  const response = await fetch(`${new URL(url).origin}/`);
  assert.match(response.headers.get('content-security-policy') ?? '', /frame-ancestors 'none'/);
});

test('a client that does not read does not hold up the copy', { skip }, async () => {
  await using world = await scene();
  const { sender, url } = await world.send('--web', '--bwlimit', '2M');
  const { port, hash } = new URL(url);
  const sockets = [0, 1, 2, 3].map(() => {
    const socket = connect(Number(port), '127.0.0.1').on('error', () => {});
    socket.write(
      `GET /copies/0 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${hash.slice(1)}\r\n\r\n`,
    );
    return socket.pause();
  });
  assert.equal((await bounded('the copy', sender.ended)).status, 0, sender.stderr);
  for (const socket of sockets) socket.destroy();
  await assertOnMedium(world.source, world.target);
});
