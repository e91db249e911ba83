// Says in `x-seen` what Node takes for the request: method, target, length and hash (FNV-1a) of the body.
const http = require("http");

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const body = Buffer.concat(pieces);
    let hash = 0xcbf29ce484222325n;
    for (const byte of [...body, 256]) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
    response.setHeader("x-seen", `${request.method} ${request.url} ${body.length} ${hash.toString(16)}`);
    response.end();
  });
});
server.keepAliveTimeout = 60000;
server.listen(Number(process.argv[2]), "127.0.0.1");
