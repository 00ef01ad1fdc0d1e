/**
 * What ten more layers cost a `create`: containers of images of 1 to 120 layers, made and removed in turns in a throwaway
 * host. Usage, as root: `$(sh bin/prepare.sh bun) bench/many-layers.ts [ROUNDS]`
 */
import { join } from 'node:path';
import { Host, MINICT } from '../test/helpers/host.ts';
import { baseTar } from '../test/helpers/layer-fixtures.ts';
import { Layout } from '../test/helpers/oci-layout.ts';
import { archive } from '../test/helpers/tar.ts';

const COUNTS = [1, 10, 30, 60, 90, 120];
const rounds = Number(process.argv[2] ?? 30);

const host = await Host.create();
try {
  const layout = new Layout(join(host.dir, 'layout'));
  const base = baseTar(host);
  // As real ones: a few folders that all have, and a file.
  const layerOf = (i: number) => ({
    tar: archive(...['etc/', 'usr/', 'usr/bin/', 'var/', 'var/lib/'].map((name) => ({ name, flag: '5' })), {
      name: `usr/bin/tool-${i}`,
      content: `${i}`,
    }),
  });
  const layers = Array.from({ length: 119 }, (_, i) => layerOf(i));
  for (const count of COUNTS) {
    layout.add(`${count}`, { layers: [{ tar: base }, ...layers.slice(0, count - 1)] });
    host.minict('image', 'pull', layout.source(`${count}`), `of:${count}`);
  }
  const times = new Map(COUNTS.map((count) => [count, [] as { wallMs: number; cpuMs: number }[]]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const count of COUNTS) {
      const argv = host.inside([MINICT, 'create', 'c', '--no-network', '--image', `of:${count}`]);
      const start = performance.now();
      const { exitCode, stderr, resourceUsage } = Bun.spawnSync(argv, { env: host.env });
      const wallMs = performance.now() - start;
      if (exitCode !== 0) throw new Error(stderr.toString());
      host.minict('rm', 'c');
      if (round > 0) times.get(count)?.push({ wallMs, cpuMs: Number(resourceUsage.cpuTime.total) / 1000 });
    }
  }
  // The lower quartile: what the machine does besides only adds.
  const timeOf = (count: number, which: 'wallMs' | 'cpuMs') =>
    (times.get(count) ?? []).map((time) => time[which]).toSorted((a, b) => a - b)[Math.floor(rounds / 4)] as number;
  const show = (what: string, of: (which: 'wallMs' | 'cpuMs') => number) =>
    console.log(`${what}: ${of('wallMs').toFixed(2)} ms, of CPU ${of('cpuMs').toFixed(2)} ms`);
  for (const count of COUNTS) show(`${String(count).padStart(3)} layers`, (which) => timeOf(count, which));
  show('ten more layers', (which) => (timeOf(120, which) - timeOf(1, which)) / 11.9);
} finally {
  await host.destroy();
}
