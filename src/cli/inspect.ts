/** minict inspect: always one JSON array. */
import { lookAtLinks } from '../host/links.ts';
import { sourceOf } from '../lifecycle/attachments.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { cgroupOf, readStatus } from '../lifecycle/status.ts';
import { addressesOf, type ContainerSpec } from '../spec/container.ts';
import { parseContainerName } from '../spec/name.ts';
import type { VolumeSpec } from '../spec/volume.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, readInstance } from '../state/store.ts';
import { print } from './output.ts';
import { reportError } from './report.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  command.argument('<name...>').action(async (names: string[]) => {
    requireRoot('inspect');
    const context = contextFrom(globals());
    const instance = readInstance(context.roots) ?? '';
    const found: object[] = [];
    for (const name of names) {
      try {
        const spec = await getContainer(context.roots, parseContainerName(name));
        const paths = containerPaths(context.roots, name);
        found.push({
          ...spec,
          ...(spec.volumes === undefined
            ? {}
            : { volumes: spec.volumes.map((volume) => withSource(context, spec, volume)) }),
          address: addressesOf(spec)[0],
          status: await readStatus(context, instance, spec, lookAtLinks()),
          namespaces: { net: paths.netns, uts: paths.utsns, mount: spec.mounts === 'private' ? paths.mntns : null },
          cgroup: cgroupOf(instance, name).payload,
          folder: paths.dir,
        });
      } catch (error) {
        process.exitCode = reportError(error);
      }
    }
    print(`${JSON.stringify(found, null, 2)}\n`);
  });
};

/** With the folder of a volume's files. */
function withSource(context: Context, spec: ContainerSpec, volume: VolumeSpec): object {
  const source = sourceOf(context, spec, volume);
  return source === undefined ? volume : { ...volume, source };
}
