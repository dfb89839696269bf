//! What listens in this network namespace, from `/proc/self/net/tcp` and `tcp6`.
//!
//! The `procfs` crate reads the same files: three crates more for the thirty lines that this takes, and it makes an entry of
//! every connection, of which a busy pod has ten thousand. Linux lists listening sockets first, but others that have these
//! files (gVisor) do not promise to, so all lines are read; of most only the state is looked at.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// All of them, of both families.
pub(super) fn all() -> io::Result<Vec<SocketAddr>> {
    of(Path::new("/proc/self/net"))
}

fn of(folder: &Path) -> io::Result<Vec<SocketAddr>> {
    let mut found = read(&folder.join("tcp"))?;
    match read(&folder.join("tcp6")) {
        Ok(more) => found.extend(more),
        // A kernel without IPv6 has no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn read(path: &Path) -> io::Result<Vec<SocketAddr>> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("reading {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(named)?;
    listening(BufReader::with_capacity(BUFFER, file)).map_err(named)
}

/// A line is `sl: local_address rem_address st …`, below a heading.
fn listening(mut lines: impl BufRead) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    let mut line = String::new();
    lines.read_line(&mut line)?;
    if !line.contains("local_address") {
        return Err(odd(&line));
    }
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(found);
        }
        let mut fields = line.split_ascii_whitespace().skip(1);
        match (fields.next(), fields.nth(1)) {
            (Some(local), Some(LISTENING)) => {
                found.push(address(local).ok_or_else(|| odd(&line))?);
            }
            (Some(_), Some(_)) => {}
            _ => return Err(odd(&line)),
        }
    }
}

fn odd(line: &str) -> io::Error {
    let line = line.trim();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{line:?} is not what is known to stand there"),
    )
}

/// Hexadecimal words as the processor has them in memory, where they stand in network order; the port is a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, place) in bytes.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(at)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// `TCP_LISTEN` of `include/net/tcp_states.h`.
const LISTENING: &str = "0A";
const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn read_from(lines: &str) -> io::Result<Vec<String>> {
        let found = listening(lines.as_bytes())?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let v4 = "\
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0000000000000000 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31338 1 0000000000000000 100 0 0 10 0
   2: 0302010A:C34F 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 31339 1 0000000000000000 20 4 30 10 -1
   3: 0302010A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31340 1 0000000000000000 100 0 0 10 0
";
        assert_eq!(
            read_from(&format!("{HEADING}{v4}")).unwrap(),
            ["127.0.0.1:8080", "0.0.0.0:80", "10.1.2.3:8080"]
        );
        let v6 = "\
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1
   1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1
   2: 0000000000000000FFFF00000100007F:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1
   3: B80D0120000000000000000001000000:1F93 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1
";
        assert_eq!(
            read_from(&format!("{HEADING}{v6}")).unwrap(),
            [
                "[::]:8080",
                "[::1]:8081",
                "[::ffff:127.0.0.1]:8082",
                "[2001:db8::1]:8083"
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_not_nothing() {
        for lines in [
            "",
            "nothing to see here\n",
            &format!("{HEADING}   0: 0100007F:1F90\n"),
            &format!("{HEADING}   0: 0100007F 00000000:0000 0A\n"),
            &format!("{HEADING}   0: 01007F:1F90 00000000:0000 0A\n"),
            &format!("{HEADING}   0: 0100007G:1F90 00000000:0000 0A\n"),
            &format!("{HEADING}   0: 0100007F:11F90 00000000:0000 0A\n"),
            &format!("{HEADING}   0: ééééééééé:1F90 00000000:0000 0A\n"),
        ] {
            assert!(read_from(lines).is_err(), "{lines:?}");
        }
        assert_eq!(read_from(HEADING).unwrap(), [""; 0]);
    }

    #[test]
    fn a_system_without_ipv6_has_one_file_and_one_without_either_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let error = of(folder.path()).unwrap_err().to_string();
        assert!(error.contains("/tcp: "), "{error}");
        std::fs::write(folder.path().join("tcp"), HEADING).unwrap();
        assert_eq!(of(folder.path()).unwrap(), []);
        std::fs::write(folder.path().join("tcp6"), "?").unwrap();
        assert!(of(folder.path()).is_err());
    }

    #[test]
    fn a_listener_of_this_very_process_is_found() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            assert!(all().unwrap().contains(&listener.local_addr().unwrap()));
        }
    }
}
