import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostOf, parseDestination, type Destination } from '../../../common/ssh/destination.ts';

test('targets are named as scp names them, or by a URL', () => {
  const cases: readonly (readonly [string, Destination])[] = [
    ['vm:/dev/vdd', { login: 'vm', port: undefined, path: '/dev/vdd' }],
    ['root@vm.example.org:/dev/vdd', { login: 'root@vm.example.org', port: undefined, path: '/dev/vdd' }],
    ['vm:disk.img', { login: 'vm', port: undefined, path: 'disk.img' }],
    ['root@[2001:db8::7]:/dev/vdd', { login: 'root@2001:db8::7', port: undefined, path: '/dev/vdd' }],
    ['[fe80::1%eth0]:/dev/vdd', { login: 'fe80::1%eth0', port: undefined, path: '/dev/vdd' }],
    ['vm:/a:b c', { login: 'vm', port: undefined, path: '/a:b c' }],
    ['ssh://root@vm:2222/dev/vdd', { login: 'root@vm', port: 2222, path: '/dev/vdd' }],
    ['ssh://vm/dev/vdd', { login: 'vm', port: undefined, path: '/dev/vdd' }],
    ['ssh://[::1]:22/dev/vdd', { login: '::1', port: 22, path: '/dev/vdd' }],
  ];
  for (const [text, wanted] of cases) assert.deepEqual(parseDestination(text), wanted, text);
});

test('the host is the login without its user', () => {
  const of = (login: string): string => hostOf({ login, port: undefined, path: '/' });
  assert.deepEqual([of('vm'), of('root@vm'), of('root@2001:db8::7')], ['vm', 'vm', '2001:db8::7']);
});

test('what names no machine is no destination', () => {
  for (const text of ['disk.img', '/dev/vdd', './a:b', '/a:b', ':/dev/vdd', '@vm:/dev/vdd', 'a b:/dev/vdd']) {
    assert.equal(parseDestination(text), undefined, text);
  }
});

test('a host or a user that ssh would take for an option is never one', () => {
  for (const text of ['-oProxyCommand=x:/dev/vdd', '-l@vm:/dev/vdd', 'root@-oX=y:/dev/vdd']) {
    assert.equal(parseDestination(text), undefined, text);
  }
  assert.throws(() => parseDestination('ssh://-oProxyCommand=x/dev/vdd'), { code: 'usage' });
});

test('a destination without a disk is a mistake', () => {
  for (const text of [
    'vm:',
    'root@vm:/',
    'ssh://vm',
    'ssh://vm/',
    'ssh://vm:0/dev/vdd',
    'ssh:vm',
    'vm:/a\nb',
  ]) {
    assert.throws(() => parseDestination(text), { code: 'usage' }, text);
  }
});
