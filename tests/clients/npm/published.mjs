// The published client, with its five subscriptions: one line of JSON for whatever it hears. Ends with its stdin.
import { IncidentManagerClient } from '@llm-dev-ops/incident-manager-client';
import WebSocket from 'ws';

const say = (what, data) => process.stdout.write(`${JSON.stringify({ what, data })}\n`);
const client = new IncidentManagerClient({
  wsUrl: process.argv[2],
  authToken: process.argv[3],
  webSocketImpl: WebSocket,
  onConnected: () => say('connected', null),
  onDisconnected: (event) => say('disconnected', { code: event?.code ?? null }),
  onError: (error) => say('error', { message: String(error?.message ?? error) }),
});

client.subscribeToCriticalIncidents((data) => say('criticalIncidents', data));
client.subscribeToIncidentUpdates(['P0', 'P1', 'P2', 'P3', 'P4'], (data) => say('incidentUpdates', data));
client.subscribeToNewIncidents((data) => say('newIncidents', data));
client.subscribeToStateChanges((data) => say('incidentStateChanges', data));
client.subscribeToAlerts((data) => say('alerts', data));

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
