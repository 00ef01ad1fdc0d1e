/** A Debian of a suite and packages: Debian's own tools fetch and unpack it. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../errors.ts';
import { runBuildTool, type ToolOptions } from './build-tool.ts';

const NO_RECOMMENDS = '--aptopt=APT::Install-Recommends "false"';
const LEAN = ['man', 'locale', 'doc'].map((dir) => `--dpkgopt=path-exclude=/usr/share/${dir}/*`);
const KEEP_LICENCES = '--dpkgopt=path-include=/usr/share/doc/*/copyright';

/** Throws HostError where a tool is missing or fails. */
export async function fillDebian(
  rootfs: string,
  verb: string,
  { suite, packages }: { suite: string; packages: readonly string[] },
  options: ToolOptions,
): Promise<void> {
  const include = packages.length > 0 ? [`--include=${packages.join(',')}`] : [];
  if (Bun.which('mmdebstrap') !== null) {
    const quiet = options.progress ? [] : ['--quiet'];
    const words = [...quiet, ...include, NO_RECOMMENDS, ...LEAN, KEEP_LICENCES];
    const tool = ['mmdebstrap', '--mode=root', '--variant=minbase', '--format=directory', ...words];
    await runBuildTool(verb, [...tool, suite, rootfs], options);
  } else if (Bun.which('debootstrap') !== null) {
    await runBuildTool(verb, ['debootstrap', '--variant=minbase', ...include, suite, rootfs], options);
    await runBuildTool(verb, ['chroot', rootfs, '/usr/bin/apt-get', 'clean'], options);
  } else {
    throw new HostError(`cannot ${verb}: neither mmdebstrap nor debootstrap found`, {
      hint: 'apt-get install mmdebstrap',
    });
  }
  // Both copy the build host's name and resolver into the tree; mounts of a container need the files to be there.
  for (const file of ['etc/hostname', 'etc/hosts', 'etc/resolv.conf']) {
    rmSync(join(rootfs, file), { force: true });
    writeFileSync(join(rootfs, file), '', { mode: 0o644 });
  }
}
