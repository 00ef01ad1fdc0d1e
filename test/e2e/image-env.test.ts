/** What a hostile image says of its programs reaches these, and steers none of the host's own on the way. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { useSettingsHost } from '../helpers/settings-host.ts';
import { type TracedExec, traceTools } from '../helpers/traced-env.ts';

const now = useSettingsHost();

/** What steers the loader and the C library, then shells; the last ones are names that a script might have itself. */
const HOSTILE = `
LD_PRELOAD=/tmp/evil.so LD_LIBRARY_PATH=/tmp/evil LD_AUDIT=/tmp/evil.so GLIBC_TUNABLES=glibc.malloc.check=3 GCONV_PATH=/tmp/evil
LOCPATH=/tmp/evil MUSL_LOCPATH=/tmp/evil NLSPATH=/tmp/evil GETCONF_DIR=/tmp/evil MALLOC_CHECK_=3 LC_ALL=/tmp/evil
LANG=/tmp/evil/C LANGUAGE=../../../tmp/evil ENV=/tmp/evil BASH_ENV=/tmp/evil SHELLOPTS=xtrace BASHOPTS=extglob
PS4=$(touch/tmp/evil) IFS=x OPTIND=7 BASH_FUNC_echo%%=(){touch/tmp/evil;} PWD=/tmp/evil PPID=1 LINENO=5 SHLVL=9
exit=mine status=mine minict=mine
`
  .trim()
  .split(/\s+/);
const STEERING = HOSTILE.filter((entry) => !entry.endsWith('=mine'));
const PATH = 'PATH=/tmp/evil:%builtin:/usr/bin:/bin';

const hostileImage = () => now.lab.image({ Env: [...HOSTILE, PATH] });
const trace = (...words: string[]) => traceTools(now.lab.host, ...words);

function expectClean(execs: readonly TracedExec[], ...tools: string[]): void {
  expect(execs.map(({ tool }) => tool).sort()).toEqual(tools.sort());
  for (const { tool, env } of execs) {
    expect(env.filter((entry) => STEERING.includes(entry))).toEqual([]);
    // dash takes `echo` from /tmp/evil where it has this PATH.
    if (tool === 'sh') expect(env.filter((entry) => entry.startsWith(PATH))).toEqual([]);
  }
}

function expectAll(stdout: string, but = /^$/): void {
  const lines = stdout.split('\n');
  for (const entry of HOSTILE.filter((one) => !but.test(one))) expect(lines).toContain(entry);
  expect(lines).toContain(PATH);
}

test('Env reaches programs, and none of the tools on the way: run, exec, services, stop commands', () => {
  const image = hostileImage();
  const ran = trace('run', '--rm', '--no-network', 'c', '--image', image, '--', 'env');
  expect(ran).toMatchObject({ status: 0, stderr: '' });
  expectClean(ran.execs, 'sh', 'nsenter', 'chroot');
  expectAll(ran.stdout);
  const options = ['--no-network', '--image', image, '--service', 'env', '--stop-cmd', 'true'];
  const made = trace('run', '-d', 'c', ...options, '--', 'true');
  expect(made).toMatchObject({ status: 0, stderr: '' });
  expectClean(made.execs, 'sh', 'nsenter', 'chroot', 'sh', 'nsenter', 'chroot');
  // A service runs in a shell of the container's, which has some for itself.
  expectAll(now.lab.host.minict('logs', 'c').stdout, /^(IFS|OPTIND|PWD|PPID|LINENO|SHLVL|BASH_FUNC|PS4)/);
  const exec = trace('exec', 'c', 'env');
  expectClean(exec.execs, 'nsenter', 'chroot');
  expectAll(exec.stdout);
  expectClean(trace('exec', '-d', 'c', 'true').execs, 'nsenter', 'chroot');
  expect(now.lab.host.minict('exec', '-d', 'c', 'sleep', '300').status).toBe(0);
  expectClean(trace('stop', 'c').execs, 'sh', 'nsenter', 'chroot');
});

test('exec -e is the same', () => {
  expect(now.lab.host.minict('create', 'c', '--no-network').status).toBe(0);
  const exec = trace('exec', ...[...HOSTILE, PATH].flatMap((entry) => ['-e', entry]), 'c', 'env');
  expectClean(exec.execs, 'nsenter', 'chroot');
  expectAll(exec.stdout);
});

test.each([[[]], [['-w', '/tmp']], [['--pid', 'private']]])(
  'a PATH without env(1) goes with them, with %j',
  (options) => {
    const words = ['-e', 'LD_DEBUG=', '-e', 'PATH=/bin', '--no-network', ...options];
    const ran = now.lab.host.minict('run', ...words, 'c', '--', 'sh', '-c', 'env; nope');
    expect(ran).toMatchObject({ status: 127, stderr: expect.stringContaining('nope') });
    expect(ran.stdout.split('\n')).toEqual(expect.arrayContaining(['LD_DEBUG=', 'PATH=/bin']));
  },
);

test('without env(1) start tells that the main command cannot be run', () => {
  const { host } = now.lab;
  expect(host.minict('create', 'c', '--no-network', '-e', 'LD_DEBUG=', '--', 'true').status).toBe(0);
  expect(host.minict('exec', 'c', 'rm', '/usr/bin/env').status).toBe(0);
  expect(host.minict('start', 'c')).toMatchObject({ status: 127, stderr: expect.stringContaining('minict logs c') });
  expect(host.minict('logs', 'c').stdout).toContain("'env'");
});

test('what no program could get, or no image can say, is refused', () => {
  const { host } = now.lab;
  const refused = (settings: object, message: RegExp) =>
    expectRefused(host.minict('image', 'pull', now.lab.source(settings), 'bad'), message);
  refused({ Env: ['A=\0'] }, /Env.*NUL/);
  refused({ Cmd: ['a\0b'] }, /Cmd.*NUL/);
  refused({ WorkingDir: '/\0' }, /WorkingDir.*NUL/);
  refused({ User: 'root\0' }, /User.*NUL/);
  const signal = now.lab.image({ StopSignal: 'SIGNOPE; rm -rf /' });
  expectRefused(
    now.lab.run(signal, '--', 'true'),
    /its StopSignal "SIGNOPE; rm -rf \/" is no signal\nhint: --stop-signal/,
  );
  expect(now.lab.run(signal, '--stop-signal', 'TERM', '--', 'true').status).toBe(0);
  expectRefused(
    now.lab.run(now.lab.image({ User: 'nobody-here' }), '--', 'true'),
    /no user nobody-here in the container/,
  );
  expect(host.minict('ps', '-a', '-q').stdout).toBe('');
});

test('a WorkingDir that is a symlink to the host stays inside, where it is made', () => {
  const workdir = (dir: string) => now.lab.run(now.lab.image({ WorkingDir: dir }), '--', 'sh', '-c', 'pwd; ls');
  const { dir } = now.lab.host;
  expect(workdir('/srv/host')).toEqual({ status: 0, stdout: `${dir}\n`, stderr: '' });
  expect(workdir('/../../../var/www')).toMatchObject({ status: 0, stdout: '/var/www\nindex.html\n' });
});

test('a PATH that would have a shell of the host take its builtins from the image does so at no working directory', () => {
  const evil = join(now.lab.host.dir, 'evil');
  mkdirSync(evil);
  for (const tool of ['[', 'echo']) {
    writeFileSync(join(evil, tool), `#!/bin/sh\n: >${evil}/has-run\nexit 1\n`, { mode: 0o755 });
  }
  const image = now.lab.image({ Env: [`PATH=${evil}:%builtin:/bin`], WorkingDir: '/var/www', User: 'lab' });
  expect(now.lab.run(image, '--', 'pwd')).toEqual({ status: 0, stdout: '/var/www\n', stderr: '' });
  expect(now.lab.run(image, '-w', '/etc/hosts', '--', 'pwd').status).toBe(126);
  expect(existsSync(join(evil, 'has-run'))).toBe(false);
});
