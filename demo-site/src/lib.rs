//! A shop to click through, both servers in one process, and a traffic simulator.
