//! The data that the crate carries.

use std::collections::BTreeMap;
use std::io;

use futures::future::try_join_all;

use crate::table::Table;

const FLIGHTS: &[u8] = include_bytes!("../data/flights-2013-01.csv.gz");
const WEATHER: &[u8] = include_bytes!("../data/weather-2013.csv.gz");

macro_rules! days {
    ($($day:literal)*) => {
        [$(include_bytes!(concat!("../data/archive/2013-02-", $day, ".csv.gz")).as_slice()),*]
    };
}

/// The flights of February 2013, a compressed CSV file for each day.
const ARCHIVE: [&[u8]; 28] = days!(
    "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11" "12" "13" "14"
    "15" "16" "17" "18" "19" "20" "21" "22" "23" "24" "25" "26" "27" "28"
);

/// Everything that the servers give.
pub(crate) struct Data {
    pub(crate) flights: Table,
    pub(crate) weather: Table,
    /// The rows of the weather for each airport and month.
    stations: BTreeMap<(String, String), Vec<usize>>,
    departed: u64,
}

impl Data {
    /// Decompresses everything.
    pub(crate) async fn load() -> io::Result<Self> {
        let days = try_join_all(ARCHIVE.map(Table::load));
        let (flights, weather, days) = tokio::try_join!(Table::load(FLIGHTS), Table::load(WEATHER), days)?;
        let stations = stations(&weather);
        let departed = days.iter().map(|day| day.count_values("dep_time")).sum();
        Ok(Self { flights, weather, stations, departed })
    }

    /// The rows of an airport's weather in a month.
    pub(crate) fn station(&self, airport: &str, month: &str) -> Option<&[usize]> {
        self.stations.get(&(airport.to_owned(), month.to_owned())).map(Vec::as_slice)
    }

    /// The compressed file of a day.
    pub(crate) fn archived(day: usize) -> Option<&'static [u8]> {
        ARCHIVE.get(day.checked_sub(1)?).copied()
    }

    pub(crate) fn flight_rows(&self) -> u64 {
        self.flights.len() as u64
    }

    pub(crate) fn weather_rows(&self) -> u64 {
        self.weather.len() as u64
    }

    /// How many flights of the archive left the ground: the pipeline keeps only those.
    pub(crate) fn departed_rows(&self) -> u64 {
        self.departed
    }
}

fn stations(weather: &Table) -> BTreeMap<(String, String), Vec<usize>> {
    let mut stations = BTreeMap::<_, Vec<usize>>::new();
    let places = weather.values("origin").zip(weather.values("month"));
    for (row, (airport, month)) in places.enumerate() {
        stations.entry((airport.to_owned(), month.to_owned())).or_default().push(row);
    }
    stations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_data_is_whole() {
        let data = Data::load().await.unwrap();
        assert_eq!(data.flight_rows(), 27_004);
        assert_eq!(data.weather_rows(), 26_115);
        assert_eq!(data.departed_rows(), 23_690);
        assert_eq!(data.stations.len(), 36);
        assert_eq!(data.station("EWR", "1").unwrap().len(), 742);
        assert!(data.station("EWR", "13").is_none());
    }

    #[test]
    fn the_archive_has_the_days_of_february() {
        assert!(Data::archived(0).is_none());
        assert!(Data::archived(1).is_some());
        assert!(Data::archived(28).is_some());
        assert!(Data::archived(29).is_none());
    }
}
