/** The kernel's own routing: the way on, forwarding, and rp_filter's look at the way back. */

import { formatSubnet } from '../../spec/address.ts';
import { nicOfRoute } from '../../spec/routing.ts';
import { quote } from '../../spec/shell-words.ts';
import { type Finding, fail, ok } from '../finding.ts';
import { defaultRoutes, ipCommand, recordedRoutes, sysctlCommand } from '../mend.ts';
import { cidrSubnet, expectedNic, interfaceOf, isIn, networkOf, nicOf, type Place, whereOf } from '../place.ts';
import { routeBack, routerTo } from '../routers.ts';

export function checkRoute(place: Place): Finding | undefined {
  const { facts, node, hop, to, way } = place;
  const { route } = hop;
  if (route === undefined || (route.kind === 'route' && route.isLocal)) return undefined;
  const check = way === 'there' ? 'route' : 'way back';
  if (route.kind === 'route' && route.redirectedTo !== undefined && way === 'there') {
    const found = `an ICMP redirect leads ${to} to ${route.redirectedTo}, and not to ${route.via ?? 'the link'}`;
    const flush = ipCommand(node, 'route flush cache');
    return { ...fail(whereOf(node, route.dev), check, 'no-route', found, flush), isUnsure: true };
  }
  if (route.kind === 'route') {
    const by = route.via === undefined ? 'on the link' : `via ${route.via}`;
    return ok(whereOf(node, route.dev), check, `${to} ${by}`);
  }
  const [refusing] = hop.refusing;
  const cause = way === 'there' ? 'no-route' : 'no-way-back';
  if (refusing !== undefined) {
    const fix = ipCommand(node, `route del ${refusing}`);
    return fail(node.name, check, cause, `the route '${refusing}' refuses ${to}`, fix);
  }
  // EACCES is prohibit's alone: without such a route in the main table, a rule, or another table, has it.
  if (/permission denied/i.test(route.error)) {
    const found = `a rule, or a route of another table, prohibits ${to}`;
    return fail(node.name, check, cause, found, {
      look: ipCommand(node, `${facts.family === 4 ? '' : '-6 '}rule show`),
    });
  }
  return fail(node.name, check, cause, `no route to ${to} (${route.error})`, missingRoute(place));
}

function missingRoute(place: Place): string {
  const { facts, node, to, way } = place;
  const back = way === 'back' ? routeBack(place) : undefined;
  if (back !== undefined) return back;
  const recorded = (node.spec?.routes ?? []).find((route) => isIn(cidrSubnet(route.to), to));
  const over = recorded && nicOfRoute(recorded, node.spec?.nics ?? []);
  if (over !== undefined) return recordedRoutes(node, over, facts.family) as string;
  const nic = expectedNic(node, to);
  const own = defaultRoutes(node, nic, facts.family);
  const isRouter = facts.containers.some(({ name, nics }) =>
    nics.some(
      ({ addresses }) =>
        name !== node.name && addresses.some((cidr) => nic?.gateways.includes(cidr.split('/')[0] ?? '')),
    ),
  );
  const beside = nic?.addresses.find((cidr) => isIn(cidrSubnet(cidr), to));
  // Its network's own route goes with an address that was taken away and put back by hand.
  if (beside !== undefined) {
    return ipCommand(node, `route add ${formatSubnet(cidrSubnet(beside))} dev ${quote(nic?.name ?? '')}`);
  }
  return (
    (isRouter ? own : undefined) ??
    routerTo(facts, node, to) ??
    own ??
    (way === 'there' ? joinNetwork(place) : undefined) ??
    `a route by who leads there: ${ipCommand(node, `route add ${to} via ROUTER`)}`
  );
}

/** Where no router leads to the network of a container, the source may be in it. */
function joinNetwork({ facts, to }: Place): string | undefined {
  const source = facts.there[0]?.node;
  const nics = facts.containers.flatMap((container) => container.nics);
  const network = networkOf(nics.find(({ addresses }) => addresses.some((cidr) => cidr.split('/')[0] === to)));
  return network === undefined || source?.spec === undefined
    ? undefined
    : `minict network connect ${network} ${source.name}`;
}

/** A packet that came in for somebody else is handed on only by who forwards. */
export function checkForwarding(place: Place): Finding | undefined {
  const { facts, node, hop, previous } = place;
  if (hop.incoming === undefined || (hop.route?.kind === 'route' && hop.route.isLocal)) return undefined;
  // The host need not become a router for all.
  const ipv4 = node.isHost ? `net.ipv4.conf.${hop.incoming.replaceAll('.', '/')}.forwarding` : 'net.ipv4.ip_forward';
  const [setting, all] =
    facts.family === 4
      ? [`net/ipv4/conf/${hop.incoming}/forwarding`, ipv4]
      : ['net/ipv6/conf/all/forwarding', 'net.ipv6.conf.all.forwarding'];
  if (node.settings.get(setting) !== '0') return ok(node.name, 'forwarding', 'on');
  // What a rule of the host's leads on has to go by it.
  const isOnlyRoute = !node.isHost || previous === undefined || hop.sentTo !== undefined;
  const other = isOnlyRoute ? undefined : routerTo(facts, previous.node, place.to);
  if (previous !== undefined && other !== undefined && place.way === 'there') {
    const found = `sends ${place.to} to ${node.name}, which does not forward; another one leads there`;
    return fail(previous.node.name, 'route', 'no-route', found, other);
  }
  return fail(node.name, 'forwarding', 'forwarding-off', `${all} is 0`, sysctlCommand(node, all, 1));
}

/** rp_filter drops what comes in by another interface than the one that an answer would leave by (ip-sysctl.rst). */
export function checkReversePath(place: Place): Finding | undefined {
  const { facts, node, hop, from, way } = place;
  const { incoming, route, reverse } = hop;
  if (incoming === undefined || facts.family === 6) return undefined;
  const setting = (dev: string) => Number(node.settings.get(`net/ipv4/conf/${dev}/rp_filter`) ?? 0);
  const filter = Math.max(setting('all'), setting(incoming));
  const where = whereOf(node, incoming);
  if (filter === 0) return ok(where, 'rp_filter', 'off');
  // EXDEV until Linux 6.12, EINVAL since.
  const isRefused = route?.kind === 'none' && /invalid (cross-device link|argument)/i.test(route.error);
  if (!isRefused) return ok(where, 'rp_filter', `${filter}: lets ${from} in`);
  if (reverse?.kind !== 'route') {
    const fix = way === 'there' ? routeBack(place) : undefined;
    const found = `no route back to ${from}, so rp_filter ${filter} drops what comes from there`;
    return fail(where, 'way back', 'no-way-back', found, fix ?? sysctlCommand(node, rpName(incoming), 0));
  }
  const found = `rp_filter ${filter} drops ${from}: the way back is by ${reverse.dev}, not ${incoming}`;
  return fail(where, 'rp_filter', 'rp-filter', found, sysctlCommand(node, rpName(incoming), 2));
}

const rpName = (dev: string) => `net.ipv4.conf.${dev.replaceAll('.', '/')}.rp_filter`;

/** For what is neither here nor on a link: a router of minict's that hands it to nobody. */
export function checkLoop({ hops, node, index }: Place): Finding | undefined {
  const earlier = hops.slice(0, index).find((hop) => hop.node === node);
  if (earlier === undefined) return undefined;
  const dev = interfaceOf(node, earlier.incoming)?.name ?? nicOf(node, earlier.incoming)?.name;
  const found = 'the packet was here before: a routing loop';
  return fail(whereOf(node, dev), 'route', 'no-route', found, { look: ipCommand(node, 'route show') });
}
