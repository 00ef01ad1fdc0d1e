/** Units of systemd: what systemd itself says of them. None is started. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { inspect } from '../helpers/processes.ts';

let host: Host;
let system: string;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  system = join(host.dir, 'a 100% $HOME "system"');
  dir = join(system, 'etc/systemd/system');
  mkdirSync(dir, { recursive: true });
  const main = ['--no-network', '--', 'sleep', '300'];
  host.minict('create', 'web-1.a', '--restart', 'always', ...main);
  host.minict('create', 'web_2', '--restart', 'unless-stopped', ...main);
  host.minict('create', 'job', '--restart', 'on-failure', ...main);
  for (const name of ['idle', 'bare']) host.minict('create', name, '--no-network');
});
afterAll(() => host.destroy());

const id = () => readFileSync(join(host.root, 'instance'), 'utf8').trim();
const unit = (name: string) => `minict-${id()}@${name}.service`;
const isEnabled = (name: string) => host.run(['systemctl', `--root=${system}`, 'is-enabled', unit(name)]).stdout.trim();
const minict = (...words: string[]) => host.minict('system', ...words, '--dir', dir);

const LASTING = ['job', 'web-1.a', 'web_2'];

test('install-units: those with a restart policy, and systemd has them enabled', () => {
  const stdout = LASTING.map((name) => `${unit(name)}\n`).join('');
  expect(minict('install-units')).toEqual({ status: 0, stdout, stderr: '' });
  expect([...LASTING, 'idle'].map(isEnabled)).toEqual(['enabled', 'enabled', 'enabled', 'disabled']);
  expect(readFileSync(join(dir, unit('')), 'utf8')).toBe(host.minict('system', 'units').stdout);
  // Twice is as once, and a name is added.
  expect(minict('install-units', 'idle').stdout).toBe(`${unit('idle')}\n`);
  expect(minict('install-units', 'idle').stdout).toBe(`${unit('idle')}\n`);
  expect(readdirSync(join(dir, 'multi-user.target.wants')).sort()).toEqual(['idle', ...LASTING].map(unit).sort());
});

test('systemd-analyze verify finds nothing wrong, with any path', () => {
  const roots = [host.root, join(host.dir, 'odd 5% "$HOME" \\ root')];
  for (const [index, root] of roots.entries()) {
    const { status, stdout } = host.run([MINICT, '--root', root, '--run-dir', `/run/odd${index}`, 'system', 'units']);
    expect(status).toBe(0);
    const path = join(host.dir, `check${index}@.service`);
    writeFileSync(path, stdout);
    expect(host.run(['systemd-analyze', 'verify', '--man=no', path])).toEqual({ status: 0, stdout: '', stderr: '' });
  }
});

test('its commands are those of a start and a stop', () => {
  const text = host.minict('system', 'units').stdout;
  const commandOf = (key: string) =>
    new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1]?.replace('%i', 'web_2').split(' ') ?? [];
  host.minict('stop', 'web_2');
  expect(host.run(commandOf('ExecStart'))).toEqual({ status: 0, stdout: 'web_2\n', stderr: '' });
  expect(inspect(host, 'web_2').status.state).toBe('running');
  expect(host.run(commandOf('ExecStop'))).toEqual({ status: 0, stdout: 'web_2\n', stderr: '' });
  expect(inspect(host, 'web_2').status.state).toBe('stopped');
  // systemd's own stop was none by hand; that of web-1.a is, but its policy is to come back at any boot.
  expect(host.run(commandOf('ExecStart')).stdout).toBe('web_2\n');
  expect(host.minict('stop', 'web_2', 'web-1.a').status).toBe(0);
  const passed = host.run(commandOf('ExecStart'));
  expect(passed).toEqual({ status: 0, stdout: '', stderr: 'minict: web_2 was stopped by hand, and is left down\n' });
  expect(inspect(host, 'web_2').status.state).toBe('stopped');
  expect(host.minict('start', '--boot', 'web-1.a').stdout).toBe('web-1.a\n');
  expect(host.minict('start', 'web_2').stdout).toBe('web_2\n');
  expect(host.run(commandOf('ExecStop')).status).toBe(0);
  expect(host.run(commandOf('ExecStart')).stdout).toBe('web_2\n');
});

test('remove-units: one, then all; what others made stays', () => {
  const others = join(dir, 'multi-user.target.wants', 'ssh.service');
  writeFileSync(others, '');
  expect(minict('remove-units', 'idle', 'bare').stdout).toBe(`${unit('idle')}\n`);
  expect(isEnabled('idle')).toBe('disabled');
  expect(minict('remove-units').stdout).toBe(LASTING.map((name) => `${unit(name)}\n`).join(''));
  expect(readdirSync(join(dir, 'multi-user.target.wants'))).toEqual(['ssh.service']);
  expect(existsSync(join(dir, unit('')))).toBe(false);
  expect(minict('remove-units')).toEqual({ status: 0, stdout: '', stderr: '' });
});

test('remove-units NAME: the template goes with the last one, but not where somebody else uses or changed it', () => {
  const template = join(dir, unit(''));
  minict('install-units', 'idle', 'job');
  expect(minict('remove-units', 'idle').stdout).toBe(`${unit('idle')}\n`);
  expect(existsSync(template)).toBe(true);
  const wants = join(dir, 'graphical.target.wants');
  mkdirSync(wants);
  symlinkSync(template, join(wants, unit('web_2')));
  expect(minict('remove-units', 'job').stdout).toBe(`${unit('job')}\n`);
  expect(existsSync(template)).toBe(true);
  rmSync(wants, { recursive: true });
  minict('install-units', 'job');
  appendFileSync(template, '# mine\n');
  expect(minict('remove-units', 'job').stdout).toBe(`${unit('job')}\n`);
  expect(existsSync(template)).toBe(true);
  minict('install-units', 'job');
  expect(minict('remove-units', 'job').stdout).toBe(`${unit('job')}\n`);
  expect(existsSync(template)).toBe(false);
});

test('refused: a unit of somebody else, no such container, nothing to install', () => {
  expectRefused(minict('install-units', 'nobody'), /^minict: cannot find container nobody: no such container\n/);
  expectRefused(minict('install-units', '../web'), /^minict: cannot use container name/);
  const odd = host.run([MINICT, '--root', join(host.dir, 'a\nExecStart=/bin/true'), 'system', 'units']);
  expectRefused(odd, /^minict: cannot write a unit: .*control character/);
  writeFileSync(join(dir, unit('')), '[Unit]\n');
  expectRefused(minict('install-units', 'idle'), /^minict: cannot write .*: it is there, and minict did not make it\n/);
  expectRefused(minict('remove-units'), /^minict: cannot write .*: it is there, and minict did not make it\n/);
  expect(readFileSync(join(dir, unit('')), 'utf8')).toBe('[Unit]\n');
  host.minict('rm', '-f', ...LASTING);
  expectRefused(
    minict('install-units'),
    /^minict: cannot install units: no container has a restart policy\nhint: minict system install-units NAME…\n$/,
  );
});
