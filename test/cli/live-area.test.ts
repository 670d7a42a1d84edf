/** What people see of a real transfer on a real terminal, as tmux(1) shows it. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { canDrawOn, hasBlockCharacters } from '../../common/io/terminal-kind.ts';
import { hasTitle } from '../../common/io/terminal-title.ts';
import { prng } from '../support/prng.ts';
import {
  MIB,
  PROGRAMS,
  startReceiver,
  startSender,
  writeTicketVia,
  type Receiver,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import { unlessInstalled } from '../support/requires.ts';
import { tempDir } from '../support/temp-dir.ts';
import { Terminal } from '../support/terminal.ts';

const skip = unlessInstalled('tmux');

interface Scene extends AsyncDisposable {
  readonly receiver: Receiver;
  readonly relay: Relay;
  readonly terminal: Terminal;
  readonly command: string;
}

/** Sixteen blocks of 256 KiB over a line that takes eight seconds for them. */
async function scene(columns: number): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const source = join(folder.path, 'source.img');
  await writeFile(source, prng(5).bytes(4 * MIB));
  const receiver = stack.use(
    await startReceiver({ folder: folder.path, target: join(folder.path, 'target.img') }),
  );
  const to = { host: receiver.host, port: receiver.port };
  const relay = stack.use(await Relay.start({ to, bytesPerSecond: MIB / 2 }));
  const ticketFile = await writeTicketVia(receiver, relay, join(folder.path, 'ticket-via'));
  const terminal = stack.use(await Terminal.open(folder.path, columns));
  const options = `--block-size 256KiB --connections 2 --ticket-file ${ticketFile} ${source}`;
  const moved = stack.move();
  const command = `clear; ${join(PROGRAMS, 'ddt-send')} ${options}; echo "status $?"`;
  return {
    receiver,
    relay,
    terminal,
    command,
    [Symbol.asyncDispose]: async () => await moved.disposeAsync(),
  };
}

const LIVE_LINE = /^ *\d+ % .*(sent|verified|durable).*$/;

for (const columns of [60, 80, 200]) {
  test(
    `at ${columns} columns there is one live line, from the first block to the last`,
    { skip },
    async () => {
      await using all = await scene(columns);
      await using folder = await tempDir();
      const recorded = join(folder.path, 'recorded');
      const title = await all.terminal.title();
      await all.terminal.record(recorded);
      const bell = columns === 80 ? '--bell ' : '';
      await all.terminal.type(all.command.replace('--block-size', `${bell}--block-size`));
      const early = await all.terminal.shows(/^ *[1-9]\d? % .* (sent|durable|verified).* ETA \d+ s$/m);
      assert.equal(early.filter((line) => LIVE_LINE.test(line)).length, 1, early.join('\n'));
      assert.equal(early.join('\n').includes('▕'), columns >= 80);
      assert.equal(early.join('\n').includes('2 connections'), columns >= 80);
      assert.match(await all.terminal.title(), /^[\d.]+ % ddt-send \/.*source\.img$/);
      const late = await all.terminal.shows(/^status 0$/m);
      assert.equal(late.filter((line) => LIVE_LINE.test(line)).length, 1, late.join('\n'));
      assert.match(late.join('\n'), /^100 % .*4 MiB verified.*\n(done .*\n)/m);
      assert.equal(await all.terminal.title(), title, 'put back');
      const parts = (await readFile(recorded, 'utf8')).split('\x07');
      assert.equal(parts.length, columns === 80 ? 2 : 1, 'it rings once, where that is wanted');
      if (columns === 80) assert.match(parts[0] ?? '', /done [\s\S]*\nblocks /, 'after the result');
    },
  );
}

test(
  'an outage is shown below with its length, until it is over; warnings stay above',
  { skip },
  async () => {
    await using all = await scene(100);
    await all.terminal.type(all.command);
    await all.terminal.shows(/^ *[1-9]\d? % .* (sent|durable|verified)/m);
    await all.receiver.end('SIGKILL');
    const down = await all.terminal.shows(
      /^waiting for the receiver: .* for [1-9] s; giving up in 23 h 59 m$/m,
    );
    const [warning, line] = [/^ddt-send: warning: cannot reach the receiver at /, LIVE_LINE].map((pattern) =>
      down.findIndex((text) => pattern.test(text)),
    );
    assert(warning !== undefined && line !== undefined && warning >= 0 && warning < line, down.join('\n'));
    await all.receiver.start();
    const after = await all.terminal.shows(/^status 0$/m);
    assert.doesNotMatch(after.join('\n'), /waiting for/);
    assert.equal(after.filter((text) => LIVE_LINE.test(text)).length, 1, after.join('\n'));
  },
);

test('a terminal that changes its width still has one line', { skip }, async () => {
  await using all = await scene(120);
  await all.terminal.type(all.command);
  await all.terminal.shows(/^ *[1-9]\d? % .*2 connections/m);
  for (const columns of [70, 150, 60]) {
    await all.terminal.resize(columns);
    const pattern =
      columns < 80 ? /^ *\d+ %(?!.*connections).*ETA [^ ]+( s)?$/m : /^ *\d+ % ▕.*2 connections/m;
    const lines = await all.terminal.shows(pattern);
    assert.equal(lines.filter((text) => LIVE_LINE.test(text)).length, 1, lines.join('\n'));
  }
});

test('Ctrl-C leaves the last state, the message below it, the cursor and the title', { skip }, async () => {
  await using all = await scene(80);
  const title = await all.terminal.title();
  await all.terminal.type(all.command);
  await all.terminal.shows(/^ *[1-9]\d? % .* (sent|durable|verified)/m);
  await all.terminal.press('C-c');
  const lines = await all.terminal.shows(/^status 130$/m);
  const at = lines.findIndex((text) => LIVE_LINE.test(text));
  assert.deepEqual(lines.slice(at + 1, at + 4), [
    'ddt-send: error: interrupted',
    'ddt-send: hint: run the same command again to resume',
    'status 130',
  ]);
  assert(await all.terminal.hasCursor());
  assert.equal(await all.terminal.title(), title);
});

test(
  'stopped by Ctrl-Z it leaves the terminal to the shell, and draws again when continued',
  { skip },
  async () => {
    await using all = await scene(80);
    await all.terminal.type(all.command.replace(/; echo .*/, ''));
    await all.terminal.shows(/^ *[1-9]\d? % .* (sent|durable|verified)/m);
    await all.terminal.press('C-z');
    await all.terminal.shows(/Stopped/);
    assert(await all.terminal.hasCursor());
    await all.terminal.type('echo in between; fg');
    await all.terminal.shows(/^done /m);
    const lines = await all.terminal.screen();
    assert(lines.includes('in between'), lines.join('\n'));
  },
);

test('a terminal that cannot redraw gets plain lines, also with --progress tty', { skip }, async () => {
  await using all = await scene(80);
  const dumb = all.command.replace('clear; ', 'clear; TERM=dumb NO_COLOR=1 ');
  await all.terminal.type(dumb);
  const lines = await all.terminal.shows(/^status 0$/m);
  assert(lines.filter((text) => LIVE_LINE.test(text)).length > 1, lines.join('\n'));
  assert.doesNotMatch(lines.join('\n'), /▕/);
  const [, options = ''] = /ddt-send (.*); echo/.exec(all.command) ?? [];
  await using sender = await startSender(['--progress', 'tty', ...options.split(' ')]);
  const { status, stderr } = await sender.ended;
  assert.equal(status, 0, stderr);
  assert.match(stderr, LIVE_LINE_AMONG);
  assert(!stderr.includes('\x1B'), stderr);
});

const LIVE_LINE_AMONG = /^ *\d+ % {2}.* durable .*$/m;

test('only terminals that can are redrawn, and bars use the characters that they have', () => {
  assert.equal(canDrawOn({ isTTY: true }, 'xterm-256color'), true);
  assert.equal(canDrawOn({ isTTY: true }, 'dumb'), false);
  assert.equal(canDrawOn({ isTTY: true }, undefined), false);
  assert.equal(canDrawOn({}, 'xterm'), false);
  assert.equal(hasBlockCharacters({ LANG: 'de_DE.UTF-8', TERM: 'xterm' }), true);
  assert.equal(hasBlockCharacters({ LANG: 'de_DE.UTF-8', LC_ALL: 'C' }), false);
  assert.equal(hasBlockCharacters({ LANG: 'C', LC_CTYPE: 'C.utf8' }), true);
  assert.equal(hasBlockCharacters({ LANG: 'C.UTF-8', TERM: 'linux' }), false);
  assert.equal(hasBlockCharacters({}), false);
});

test('a title is shown where it can be put back', () => {
  for (const TERM of ['xterm-256color', 'tmux', 'st', 'foot-extra']) assert(hasTitle({ TERM }), TERM);
  for (const TERM of ['linux', 'dumb', 'vt220', 'screen.xterm-256color', 'stterm', ''])
    assert(!hasTitle({ TERM }), TERM);
  assert(!hasTitle({}) && hasTitle({ TERM: 'screen-256color', TMUX: '/tmp/tmux,1,0' }));
});
