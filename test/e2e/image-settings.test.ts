/** What an image says of the programs in it is honoured as docker does. */
import { expect, test } from 'vitest';
import { eventually } from '../helpers/host.ts';
import { useSettingsHost } from '../helpers/settings-host.ts';

const now = useSettingsHost();

test.each<[string, object, string[], string]>([
  ['Cmd', { Cmd: ['echo', 'cmd'] }, [], 'cmd\n'],
  ['words in place of Cmd', { Cmd: ['echo', 'cmd'] }, ['--', 'echo', 'words'], 'words\n'],
  ['Entrypoint and Cmd', { Entrypoint: ['echo', 'entry'], Cmd: ['cmd'] }, [], 'entry cmd\n'],
  ['Entrypoint and words', { Entrypoint: ['echo', 'entry'], Cmd: ['cmd'] }, ['--', 'w'], 'entry w\n'],
  ['--entrypoint, without Cmd', { Entrypoint: ['false'], Cmd: ['cmd'] }, ['--entrypoint', 'echo'], '\n'],
  ['--entrypoint and words', { Entrypoint: ['false'], Cmd: ['x'] }, ['--entrypoint', 'echo', '--', 'w'], 'w\n'],
  ['no --entrypoint', { Entrypoint: ['false'], Cmd: ['x'] }, ['--entrypoint', '', '--', 'echo', 'w'], 'w\n'],
  ['-e in place of Env', { Env: ['A=image'], Cmd: ['sh', '-c', 'echo $A'] }, ['-e', 'A=mine'], 'mine\n'],
  [
    'HOME and PATH of Env',
    { Env: ['HOME=/srv', 'PATH=/nowhere:/bin'], Cmd: ['sh', '-c', 'echo ~ $PATH'] },
    [],
    '/srv /nowhere:/bin\n',
  ],
  ['WorkingDir', { WorkingDir: '/var/www', Cmd: ['pwd'] }, [], '/var/www\n'],
  ['a WorkingDir without a slash', { WorkingDir: 'var/www', Cmd: ['pwd'] }, [], '/var/www\n'],
  ['-w', { WorkingDir: '/var/www', Cmd: ['pwd'] }, ['-w', '/etc'], '/etc\n'],
  ['User', { User: 'lab', Cmd: ['sh', '-c', 'id -u; id -G; echo ~'] }, [], '1000\n1000 2000\n/home/lab\n'],
  ['User by numbers', { User: '7:8', Cmd: ['sh', '-c', 'id -u; id -G'] }, [], '7\n8\n'],
  ['-u', { User: 'lab', Cmd: ['id', '-u'] }, ['-u', 'root'], '0\n'],
])('%s', (_, settings, words, stdout) => {
  expect(now.lab.run(now.lab.image(settings), ...words)).toEqual({ status: 0, stdout, stderr: '' });
});

test('Env, with names that no shell has', () => {
  const env = ['A=a=b', 'E=', 'a.b=dot', 'x-y=dash', 'L=two\nlines'];
  const { stdout } = now.lab.run(now.lab.image({ Env: env, Cmd: ['env'] }));
  const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  expect(stdout.split('\n').sort()).toEqual(
    ['', ...env.join('\n').split('\n'), 'HOME=/root', 'HOSTNAME=c', path].sort(),
  );
});

test('exec, services and -d have Env; exec has User and WorkingDir', async () => {
  const image = now.lab.image({
    Env: ['A=image', 'a.b=dot'],
    User: 'lab',
    WorkingDir: '/var/www',
  });
  const service = '[ "$(id -u)" = 0 ] && env >/tmp/service';
  expect(
    now.lab.host.minict('run', '-d', 'c', '--no-network', '--image', image, '--service', service, '--', 'env').status,
  ).toBe(0);
  const exec = (...words: string[]) => now.lab.host.minict('exec', 'c', ...words).stdout;
  expect(exec('sh', '-c', 'id -u; pwd; echo $A')).toBe('1000\n/var/www\nimage\n');
  expect(exec('env')).toContain('\na.b=dot\n');
  expect(exec('cat', '/tmp/service')).toContain('A=image\n');
  expect(await eventually(() => now.lab.host.minict('logs', 'c').stdout.includes('a.b=dot\n'))).toBe(true);
});

test('StopSignal; --stop-signal; Labels and ExposedPorts in inspect', async () => {
  const script = 'trap "echo usr1; exit 7" USR1; trap "echo term; exit 8" TERM; echo up; while :; do sleep 0.1; done';
  const image = now.lab.image({
    StopSignal: 'SIGUSR1',
    Labels: { lab: 'yes', other: '1' },
    ExposedPorts: { '80/tcp': {} },
    Cmd: ['sh', '-c', script],
  });
  for (const [words, said] of [
    [[], 'usr1'],
    [['--stop-signal', 'TERM'], 'term'],
  ] as const) {
    expect(
      now.lab.host.minict('run', '-d', 'c', '--no-network', '--image', image, '-l', 'other=2', ...words).status,
    ).toBe(0);
    expect(await eventually(() => now.lab.host.minict('logs', 'c').stdout === 'up\n')).toBe(true);
    expect(now.lab.host.minict('stop', 'c').status).toBe(0);
    expect(now.lab.host.minict('logs', 'c').stdout).toMatch(new RegExp(`^up\\n.*${said}\\n$`, 's'));
    const [found] = JSON.parse(now.lab.host.minict('inspect', 'c').stdout);
    expect(found).toMatchObject({ labels: { lab: 'yes', other: '2' }, exposedPorts: ['80/tcp'] });
    now.lab.host.minict('rm', '-f', 'c');
  }
});

test('create keeps the default command for start', async () => {
  const image = now.lab.image({ Entrypoint: ['echo'], Cmd: ['started'] });
  expect(now.lab.host.minict('create', 'c', '--no-network', '--image', image).status).toBe(0);
  expect(now.lab.host.minict('start', 'c').status).toBe(0);
  expect(await eventually(() => now.lab.host.minict('logs', 'c').stdout === 'started\n')).toBe(true);
});
