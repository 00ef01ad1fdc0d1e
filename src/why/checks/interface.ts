/** The container itself, and its interface. */
import { quote } from '../../spec/shell-words.ts';
import { type Finding, fail, ok } from '../finding.ts';
import { addAddress, ipCommand, missingAddresses, recordedRoutes, together } from '../mend.ts';
import { hostEndOf, interfaceOf, leavingDev, nicOf, type Place, whereOf } from '../place.ts';
import { noCarrier } from './carrier.ts';

export function checkContainer({ node }: Place): Finding | undefined {
  if (node.isHost) return undefined;
  // A start does not make namespaces anew around processes that are in the old ones.
  const start = `minict ${node.state === 'gone' && node.isRunning ? 'restart' : 'start'} ${node.name}`;
  if (node.state === 'stopped') return fail(node.name, 'container', 'stopped', 'stopped', start);
  if (node.state === 'gone') return fail(node.name, 'container', 'stopped', 'its network namespace is gone', start);
  return ok(node.name, 'container', node.isPaused ? 'up, and paused: its programs answer nothing' : 'up');
}

/** What a node sends to itself goes by its loopback. */
export function checkLoopback({ node }: Place): Finding | undefined {
  const lo = interfaceOf(node, 'lo');
  if (lo === undefined || lo.isUp) return undefined;
  return fail(whereOf(node, 'lo'), 'NIC', 'nic-down', 'down', ipCommand(node, 'link set dev lo up'));
}

export function checkIncomingNic(place: Place): Finding | undefined {
  return place.hop.incoming === undefined ? undefined : checkNic(place, place.hop.incoming);
}

export function checkOutgoingNic(place: Place): Finding | undefined {
  const dev = leavingDev(place);
  return dev === undefined ? undefined : checkNic(place, dev);
}

function checkNic(place: Place, dev: string): Finding | undefined {
  const { facts, node, next } = place;
  const link = interfaceOf(node, dev);
  const nic = nicOf(node, dev);
  const where = whereOf(node, dev);
  if (link === undefined) {
    const advice = node.isHost ? { look: `ip link show dev ${quote(dev)}` } : { fix: `minict start ${node.name}` };
    return fail(where, 'NIC', 'nic-down', `there is no interface ${dev}`, advice);
  }
  const other = hostEndOf(facts, node, dev);
  if (nic?.down && (!link.isUp || other?.isUp === false)) {
    return fail(where, 'NIC', 'nic-down', 'taken down by link down', `minict link up ${node.name}:${dev}`);
  }
  if (!link.isUp) {
    const up = ipCommand(node, `link set dev ${quote(dev)} up`);
    // IPv6's addresses go with it, and all routes, whichever family the path is of.
    const lost = [...missingAddresses(link, nic, 4), ...missingAddresses(link, nic, 6)].map((cidr) =>
      addAddress(node, cidr, dev),
    );
    return fail(where, 'NIC', 'nic-down', 'down', together(up, ...lost, recordedRoutes(node, nic, facts.family)));
  }
  if (other !== undefined && !other.isUp) {
    return fail(
      where,
      'NIC',
      'nic-down',
      `its host end ${other.name} is down`,
      `ip link set dev ${quote(other.name)} up`,
    );
  }
  // Of a pair, the other end is looked at where it is.
  const isOtherDown = next !== undefined && interfaceOf(next.node, next.incoming)?.isUp !== true;
  if (!link.hasCarrier && link.kind !== 'bridge' && !isOtherDown) return noCarrier(place, dev);
  return ok(where, 'NIC', 'up');
}
