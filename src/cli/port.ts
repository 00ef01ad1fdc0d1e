/** minict port: what a container publishes, as docker prints it. */
import { NotFoundError } from '../errors.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { hostEnd, parseInsidePort } from '../spec/port.ts';
import { getContainer } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .argument('[port[/protocol]]', "the container's; without it, all of them")
    .action(async (name: string, wanted: string | undefined) => {
      requireRoot('port');
      const { ports = [] } = await getContainer(contextFrom(globals()).roots, parseContainerName(name));
      if (wanted === undefined) {
        print(ports.map((port) => `${port.to}/${port.protocol} -> ${hostEnd(port)}\n`).join(''));
        return;
      }
      const { to, protocol } = parseInsidePort(wanted);
      const found = ports.filter((port) => port.to === to && port.protocol === protocol);
      if (found.length === 0) {
        throw new NotFoundError(`cannot find port ${to}/${protocol} of ${name}: not published`, {
          hint: `minict port ${name}`,
        });
      }
      print(found.map((port) => `${hostEnd(port)}\n`).join(''));
    });
};
