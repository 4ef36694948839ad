// graphql-ws by itself, as the README shows it: one line of JSON for whatever it hears. Ends with its stdin.
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const say = (what, data) => process.stdout.write(`${JSON.stringify({ what, data })}\n`);
const client = createClient({
  url: process.argv[2],
  webSocketImpl: WebSocket,
  connectionParams: { Authorization: `Bearer ${process.argv[3]}` },
  on: { connected: () => say('connected', null) },
});

client.subscribe(
  {
    query: `subscription {
      incidentUpdated(filter: { severity: [P0, P1], environment: [PRODUCTION] }) {
        updateType changedFields actor { name } timestamp
        incident { id title severity state status assignedTo { name email } }
      }
    }`,
  },
  {
    next: (result) => say('incidentUpdated', result.data?.incidentUpdated ?? result.errors),
    error: (error) => say('error', { message: JSON.stringify(error) }),
    complete: () => say('complete', null),
  },
);

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
