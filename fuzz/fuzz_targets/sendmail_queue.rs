//! Control files of Sendmail's queue: what is read is written back as it was, whatever is edited it can be read again.
#![no_main]

use gatepost_wire::sendmail_queue::{Among, BodyReader, BodyWriter, ControlFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (mut reader, mut writer) = (BodyReader::default(), BodyWriter::default());
    let (mut body, mut data) = (Vec::new(), Vec::new());
    reader.read(input, &mut body);
    reader.finish(&mut body);
    writer.write(&body, &mut data);
    writer.finish(&mut data);
    assert!(reader.stray > 0 || data == input);

    let Ok(mut file) = ControlFile::parse(input) else { return };
    assert_eq!(file.to_bytes(), input);
    let recipients = file.recipients().len();
    file.mend();
    file.client();
    file.insert_field(Among::First(0), "X-New", &String::from_utf8_lossy(input));
    assert!(file.header().starts_with(b"X-New: "));
    file.change_recipient(0, &String::from_utf8_lossy(input));
    file.change_field("subject", 0, "new");
    file.set_eight_bit();
    file.forget_data_file();
    let again = ControlFile::parse(&file.to_bytes()).expect("an edited file can be read");
    assert_eq!(again.recipients().len(), recipients);
    file.keep_recipients(|place| place > 0);
    assert_eq!(file.recipients().len(), recipients - 1);
});
