/** Verbs at the same time on the same thing: one of them wins, the others say why not, and nothing is half-made. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { imageNames, imageTree } from '../helpers/images.ts';

let host: Host;
let base: string;
beforeAll(async () => {
  host = await Host.create();
  expectCreated(host, 'first');
  base = imageTree(host, 'base');
});
afterAll(() => host.destroy());

interface Ended {
  readonly status: number;
  readonly stderr: string;
}

async function atOnce(...verbs: readonly string[][]): Promise<Ended[]> {
  const children = verbs.map((words) => host.spawn([MINICT, ...words]));
  return Promise.all(
    children.map(async (child) => ({
      status: await child.exited,
      stderr: await new Response(child.stderr as ReadableStream).text(),
    })),
  );
}

const ROUNDS = [1, 2, 3, 4, 5];

test.each(['--rootfs', '--image'])('one directory: in place for one container, and %s for another', async (option) => {
  const dir = join(host.dir, `tree${option}`);
  cpSync(base, dir, { recursive: true, verbatimSymlinks: true });
  for (const _ of ROUNDS) {
    const ended = await atOnce(['create', 'c1', '--rootfs', dir], ['create', 'c2', option, dir]);
    expect(ended.map(({ status }) => status).sort()).toEqual([0, 125]);
    expect(ended.map(({ stderr }) => stderr).join('')).toMatch(/^minict: cannot use \S+ \S+: container c[12] has it\n/);
    expect(host.minict('rm', ended[0]?.status === 0 ? 'c1' : 'c2')).toMatchObject({ status: 0, stderr: '' });
  }
});

test('image rm, and a create from that image', async () => {
  host.run(['tar', '-cf', join(host.dir, 'lab.tar'), '-C', base, '.']);
  for (const _ of ROUNDS) {
    if (!imageNames(host).includes('lab')) host.minict('image', 'import', join(host.dir, 'lab.tar'), 'lab');
    const [created, removed] = await atOnce(['create', 'c1', '--image', 'lab'], ['image', 'rm', 'lab']);
    expect([created?.status, removed?.status].sort()).toEqual([0, 125]);
    expect(`${created?.stderr}${removed?.stderr}`).toMatch(
      /^minict: cannot (use image lab: no such image|remove image lab: used by c1)\nhint: .*\n$/,
    );
    if (created?.status !== 0) continue;
    expect(host.minict('exec', 'c1', 'true')).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('rm', 'c1').status).toBe(0);
  }
});

test('exec in what is not there: nobody unlinks a lock that another one waits for', async () => {
  for (const _ of ROUNDS) {
    const ended = await atOnce(...Array.from({ length: 6 }, () => ['exec', 'nobody', 'true']));
    for (const { status, stderr } of ended) {
      expect({ status, stderr }).toEqual({
        status: 125,
        stderr: 'minict: cannot find container nobody: no such container\nhint: minict ps -a\n',
      });
    }
  }
  expect(host.minict('exec', 'nobody', 'true').status).toBe(125);
  // An ip that is there, and cannot be run.
  writeFileSync(join(host.dir, 'ip'), '#!/nope\n', { mode: 0o755 });
  const path = { PATH: `${host.dir}:${process.env.PATH}` };
  expect(host.run([MINICT, 'network', 'connect', 'minict0', 'nobody'], path).status).toBe(125);
  expect(host.run(['ls', '-A', '/run/minict']).stdout).not.toContain('.lock-nobody');
});

test('ps, while containers come and go: none is broken, and none that is gone is an error', async () => {
  const loops = [
    'm create "$1" && m stop "$1" && m start "$1" && m restart -t 0 "$1" && m rm -f "$1"',
    'm run -d "$1" -- sleep 100 && m stop -t 0 "$1" && m start "$1" && m rm -f "$1"',
  ].map((life, index) => {
    const script = `m() { "$0" "$@"; }; for i in 1 2 3 4 5 6 7 8; do ${life} || exit; done`;
    return host.spawn(['sh', '-c', script, MINICT, `l${index}`]);
  });
  const seen: string[] = [];
  while (loops.some(({ exitCode }) => exitCode === null)) {
    const { status, stdout, stderr } = host.minict('ps', '-a');
    seen.push(stdout);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).not.toContain('broken');
    await Bun.sleep(1);
  }
  expect(await Promise.all(loops.map((loop) => loop.exited))).toEqual([0, 0]);
  expect(seen.join('')).toMatch(/^l0 /m);
});
