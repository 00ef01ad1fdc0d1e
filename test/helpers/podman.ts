/** podman in a throwaway host, with its storage in the test's scratch folder and nothing of the machine's. */
import { join } from 'node:path';
import type { Host, Result } from './host.ts';
import { hideContainersCache } from './registry.ts';

export class Podman {
  private readonly host: Host;

  constructor(host: Host) {
    this.host = host;
    hideContainersCache(host);
    // crun refuses a host that has cgroup2 beside v1, also where it is to make no group.
    const controllers = '/sys/fs/cgroup/unified/cgroup.controllers';
    host.run(['sh', '-c', `[ ! -e ${controllers} ] || mount --bind /dev/null ${controllers}`]);
  }

  /** Words for `host.run`. */
  argv(...words: string[]): string[] {
    return [
      ...['podman', '--root', join(this.host.dir, 'podman'), '--runroot', '/run/podman', '--tmpdir', '/run/libpod'],
      ...['--cgroup-manager=cgroupfs', '--events-backend=file', '--runtime=crun', '--log-level=error'],
      ...['--network-config-dir', '/run/podman-networks', ...words],
    ];
  }

  /** Throws where it fails. */
  run(...words: string[]): string {
    const { status, stdout, stderr }: Result = this.host.run(this.argv(...words));
    if (status !== 0) throw new Error(`podman ${words.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** What a container of the image, removed afterwards, says. */
  runImage(image: string, ...words: string[]): string {
    const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=4096:4096'];
    return this.run('run', '--rm', '--network=none', '--cgroups=disabled', ...limits, image, ...words);
  }
}
