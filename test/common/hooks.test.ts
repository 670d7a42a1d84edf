/** Commands that are run for people, with the real timeout(1) and the real shell. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Hooks, readHooks, type HookOptions } from '../../common/hooks.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { until } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Scene {
  readonly hooks: Hooks;
  readonly clock: FakeClock;
  readonly warnings: string[];
  readonly rings: { count: number };
}

function scene(options: Partial<HookOptions>, timeLimitMs?: number): Scene {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const rings = { count: 0 };
  const all = { onDone: undefined, onTrouble: undefined, troubleAfterMs: 1, isBell: false, ...options };
  const hooks = new Hooks(all, {
    program: 'ddt-send',
    clock,
    warn: (warning) => warnings.push(warning),
    ring: () => rings.count++,
    ...(timeLimitMs === undefined ? {} : { timeLimitMs }),
  });
  return { hooks, clock, warnings, rings };
}

const DONE = { result: 'verified', code: 'done', message: 'equal' } as const;

test('foreign text reaches the command as it is, in one line, and no shell reads it', async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  const touch = (name: string): string => `touch ${at(name)}`;
  const evil = `$(${touch('a')})\`${touch('b')}\`"; ${touch('c')}; '\n\u001B]0;x\u0007\u202E`;
  const { hooks, warnings } = scene({ onTrouble: `printf '<%s>' "$DDT_MESSAGE" "$DDT_HINT" > ${at('out')}` });
  hooks.ended({ result: 'failed', code: 'io-error', message: evil, hint: 'ddt1.SECRET.secret' });
  await hooks.finish();
  assert.deepEqual(warnings, []);
  const shown = evil.replaceAll(/[^ -~]/g, '?');
  assert.equal(await readFile(at('out'), 'utf8'), `<${shown}><ddt1.…>`);
  assert.equal(await runOk('ls', [folder.path]), 'out\n');
});

test('a text of any length is cut, and no inherited variable stands for an empty one', async () => {
  await using folder = await tempDir();
  const out = join(folder.path, 'out');
  process.env['DDT_RECEIPT'] = 'of somebody else';
  process.env['DDT_TICKET'] = 'https://vm/#token=ddt1.secret';
  try {
    const { hooks } = scene({ onDone: `env > ${out}; printf %s "$DDT_MESSAGE" | wc -m >> ${out}` });
    hooks.ended({ ...DONE, message: 'é'.repeat(100_000), status: 0 });
    await hooks.finish();
  } finally {
    delete process.env['DDT_RECEIPT'];
    delete process.env['DDT_TICKET'];
  }
  const lines = (await readFile(out, 'utf8')).split('\n');
  assert(lines.includes('DDT_RECEIPT=') && lines.includes('DDT_STATUS=0'), lines.join('\n'));
  assert(!lines.some((line) => line.startsWith('DDT_TICKET')));
  assert(lines.includes(`DDT_MESSAGE=${'é'.repeat(1000)}`));
});

for (const [what, command, warning] of [
  ['ends with another status', 'echo first; echo no route >&2; exit 7', 'ended with status 7: no route'],
  ['is not there', 'no-such-command-here', /ended with status 127: .*not found/],
  ['takes too long', 'echo begun; sleep 77; echo over', 'did not end within 1 s, and was stopped: begun'],
  ['ignores SIGTERM', "trap '' TERM; sleep 8", 'did not end within 1 s, and was stopped'],
] as const) {
  test(`a command that ${what} is a warning`, async () => {
    const { hooks, warnings } = scene({ onDone: command }, 1000);
    hooks.ended(DONE);
    await hooks.finish();
    const [only = ''] = warnings;
    assert.equal(warnings.length, 1);
    if (typeof warning !== 'string') assert.match(only, warning);
    else assert.equal(only, `--on-done: the command ${warning}; the copy is not affected`);
    // With all that it has started.
    assert.doesNotMatch(await runOk('ps', ['-eo', 'args']), /^sleep 77$/m);
  });
}

test('what a command leaves running is not waited for, and its output is not shown', async () => {
  const { hooks, warnings } = scene({ onDone: 'echo fine; sleep 3 &' });
  const startMs = performance.now();
  hooks.ended(DONE);
  await hooks.finish();
  assert(performance.now() - startMs < 2500);
  assert.deepEqual(warnings, []);
});

const HOOKS = join(import.meta.dirname, '../../common/hooks.ts');

test(
  'it has no terminal and no input, so it can ask nothing',
  { skip: unlessInstalled('script') },
  async () => {
    await using folder = await tempDir();
    const [out, program] = [join(folder.path, 'out'), join(folder.path, 'program.ts')];
    const command = `{ cat; (: < /dev/tty) 2>/dev/null || echo none; } > ${out}`;
    await writeFile(
      program,
      `import { Hooks } from '${HOOKS}';
    import { openSync } from 'node:fs';
    openSync('/dev/tty', 'r');
    const hooks = new Hooks({ onDone: '${command}' }, { program: 'ddt-send', warn: console.error });
    hooks.ended({ result: 'verified', code: 'done', message: '' });
    await hooks.finish();`,
    );
    await runOk('script', ['-qec', `'${process.execPath}' '${program}'`, '/dev/null']);
    assert.equal(await readFile(out, 'utf8'), 'none\n');
  },
);

test('the same trouble is reported once an hour, another one at once, in order', async () => {
  await using folder = await tempDir();
  const out = join(folder.path, 'out');
  await writeFile(out, '');
  const onTrouble = `sleep 0.1; echo "$DDT_RESULT $DDT_CODE $DDT_TARGET" >> ${out}`;
  const { hooks, clock, rings } = scene({ onTrouble, isBell: true });
  const tell = (code: string, target?: string): void => hooks.trouble({ code, message: '', target });
  tell('no-space');
  tell('no-space');
  tell('io-error');
  tell('no-space', '/dev/vdc');
  await clock.advance(3_599_000);
  tell('no-space');
  await clock.advance(1000);
  tell('no-space');
  hooks.ended({ ...DONE, result: 'failed', code: 'no-progress' });
  await hooks.finish();
  assert.deepEqual((await readFile(out, 'utf8')).split('\n'), [
    'trouble no-space ',
    'trouble io-error ',
    'trouble no-space /dev/vdc',
    'trouble no-space ',
    'failed no-progress ',
    '',
  ]);
  assert.equal(rings.count, 5);
});

test('a finished copy calls the one command, a failed one the other, without a command nothing', async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  const { hooks, rings } = scene({ onDone: `echo x >> ${at('done')}` });
  for (const result of ['verified', 'unproven', 'sealed', 'failed'] as const)
    hooks.ended({ ...DONE, result });
  await hooks.finish();
  assert.equal(await readFile(at('done'), 'utf8'), 'x\nx\nx\n');
  assert.equal(rings.count, 0, 'not asked for');
});

test('a process that ends at once leaves the command running, within its time', async () => {
  await using folder = await tempDir();
  const out = join(folder.path, 'out');
  const program = `import { Hooks } from '${HOOKS}';
    const options = { onTrouble: 'sleep 0.3; echo printed; echo $DDT_CODE > ${out}; sleep 66' };
    const hooks = new Hooks(options, { program: 'ddt-receive', warn: () => {}, timeLimitMs: 1000 });
    hooks.endedNow({ result: 'failed', code: 'journal-error', message: '' });
    process.exit(5);`;
  await assert.rejects(runOk(process.execPath, ['--input-type=module', '--eval', program]), { status: 5 });
  await until('the command', async () => (await readFile(out, 'utf8').catch(() => '')) === 'journal-error\n');
  await until('its end', async () => !/^sleep 66$/m.test(await runOk('ps', ['-eo', 'args'])));
});

test('a command has words, and a time before trouble somebody to call', () => {
  const onTrouble = 'logger "$DDT_MESSAGE"';
  const read = { onDone: undefined, onTrouble, troubleAfterMs: 90_000, isBell: false };
  assert.deepEqual(readHooks({ onTrouble, troubleAfter: '90s' }), read);
  assert.equal(readHooks({ bell: true }).troubleAfterMs, 300_000);
  for (const [message, raw] of [
    ['--on-done has no command', { onDone: ' ' }],
    ['--on-trouble has no command', { onTrouble: '' }],
    ['--trouble-after is only for --on-trouble and --bell', { onDone: 'true', troubleAfter: '1s' }],
    ["--trouble-after '5' is not a duration", { bell: true, troubleAfter: '5' }],
  ] as const) {
    assert.throws(() => readHooks(raw), { name: 'TransferError', code: 'usage', message });
  }
});
