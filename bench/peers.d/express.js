// The load balancer of the article, with its middleware: a profiler, HTTPS enforcement, and two backends in turns.
const http = require('http');
const express = require('express');

const backends = [@BACKEND1@, @BACKEND2@];
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const counts = {};
let turn = 0;

function profile(req, res, next) {
    const started = process.hrtime.bigint();
    res.on('finish', () => {
        const count = counts[`${req.method} ${res.statusCode}`] ??= { requests: 0, nanoseconds: 0n };
        count.requests += 1;
        count.nanoseconds += process.hrtime.bigint() - started;
    });
    next();
}

function secure(req, res, next) {
    if (req.headers['x-forwarded-proto'] === 'https') return next();
    res.redirect(301, `https://${req.headers.host}${req.url}`);
}

function balance(req, res) {
    const port = backends[turn++ % backends.length];
    const { method, url: path, headers } = req;
    const upstream = http.request({ agent, host: '127.0.0.1', port, method, path, headers }, (answer) => {
        res.writeHead(answer.statusCode, answer.headers);
        answer.pipe(res);
    });
    upstream.on('error', () => res.headersSent ? res.destroy() : res.sendStatus(502));
    req.pipe(upstream);
}

const app = express();
app.disable('x-powered-by');
app.use(profile, secure, balance);
app.listen(@PORT@, '127.0.0.1');
