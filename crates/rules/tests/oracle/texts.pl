#!/usr/bin/perl
# Tells what SpamAssassin itself makes of mails: texts.pl TLDS.cf < list of files, one a line.
#
# A line for each text: kind, key and value with a tab between; octets that are not printable ASCII, and percent signs, as %XX.
# Before each mail comes a line `file`, NAME.
use strict;
use warnings;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($tlds, @settings) = @ARGV;
my $sa = Mail::SpamAssassin->new({
  rules_filename => $tlds, site_rules_filename => '/dev/null', userprefs_filename => '/dev/null',
  dont_copy_prefs => 1, local_tests_only => 1, post_config_text => join("\n", @settings, ''),
});
$sa->init(0);
$sa->{conf}->{redirector_patterns} = [];

my @requests = qw(
  Subject Subject:raw From From:raw From:addr From:name From:name:raw From:addr:host From:addr:domain From:host To To:addr To:name
  Cc:addr Reply-To Reply-To:addr Reply-To:host ToCc ToCc:raw MESSAGEID MESSAGEID:raw EnvelopeFrom EnvelopeFrom:addr Return-Path:addr
  Received Received:first Received:last Received:raw Received:ip Received:host X-Originating-IP X-Originating-IP:ip
  X-Originating-IP:revip Date Message-Id Message-Id:host Message-Id:domain Content-Type Content-Type:raw Sender:addr Sender:name
  List-Id List-Id:raw X-Mailer User-Agent In-Reply-To References X-Spam-Relays-Trusted X-Spam-Relays-Untrusted
  X-Spam-Relays-Internal X-Spam-Relays-External ALL ALL:raw ALL-TRUSTED ALL-UNTRUSTED ALL-INTERNAL ALL-EXTERNAL ALL-UNTRUSTED:raw
  X-SenderDomain X-AuthorDomain Delivered-To:addr
);
my @numbers = qw(
  length html_length non_space_len ratio image_area min_size max_size closed_extra_ratio bad_tag_ratio non_element_ratio
  obfuscation_ratio backhair_count font_low_contrast font_invalid_color font_face_bad form_action_mailto embeds
);
my @flags = qw(
  missing_head_body_separator truncated_header missing_mime_headers missing_mime_head_body_separator mime_epilogue_exists
  mimepart_limit_exceeded
);

sub emit {
  my ($kind, $key, $value) = @_;
  for ($key, $value) {
    utf8::encode($_) if utf8::is_utf8($_);
    s/([^\x20-\x24\x26-\x7e])/sprintf '%%%02x', ord $1/ge;
  }
  print "$kind\t$key\t$value\n";
}

while (my $file = <STDIN>) {
  chomp $file;
  open(my $in, '<:raw', $file) or die "$file: $!";
  local $/;
  my $text = <$in>;
  $/ = "\n";
  print "file\t$file\t\n";
  my $msg = $sa->parse(\$text, 1);
  my $pms = Mail::SpamAssassin::PerMsgStatus->new($sa, $msg);
  $pms->extract_message_metadata();
  emit('body', $_, ${$msg->get_rendered_body_text_array()}[$_]) for 0 .. $#{$msg->get_rendered_body_text_array()};
  emit('visible', $_, ${$msg->get_visible_rendered_body_text_array()}[$_]) for 0 .. $#{$msg->get_visible_rendered_body_text_array()};
  emit('invisible', $_, ${$msg->get_invisible_rendered_body_text_array()}[$_]) for 0 .. $#{$msg->get_invisible_rendered_body_text_array()};
  emit('rawbody', $_, ${$msg->get_decoded_body_text_array()}[$_]) for 0 .. $#{$msg->get_decoded_body_text_array()};
  emit('full', '', $msg->get_pristine());
  for my $request (@requests) {
    my @values = $pms->get($request);
    next unless @values;
    emit('header', $request, join($values[0] =~ /\n\z/ ? '' : "\n", @values));
  }
  my $uris = $pms->get_uri_detail_list() || {};
  for my $raw (sort keys %$uris) {
    my $uri = $uris->{$raw};
    emit('uri', $raw, join(' ', 'types', sort(keys %{$uri->{types}})));
    emit('cleaned', $raw, join(' ', sort(@{$uri->{cleaned} || []})));
    emit('hosts', $raw, join(' ', map { "$_=$uri->{hosts}->{$_}" } sort(keys %{$uri->{hosts}})));
    emit('anchor', $raw, join('|', @{$uri->{anchor_text} || []})) if $uri->{anchor_text};
  }
  my $place = 0;
  for my $html (@{$msg->{metadata}->{html_all} || []}) {
    for my $number (@numbers) {
      my $value = $html->{$number};
      emit('html', "$place $number", sprintf('%.9g', $value)) if defined $value;
    }
    emit('inside', "$place $_", $html->{inside}->{$_}) for sort keys %{$html->{inside}};
    for my $name (qw(title anchor script comment)) {
      emit('html text', "$place $name", join('|', map { defined $_ ? $_ : '' } @{$html->{$name}})) if $html->{$name};
    }
    $place++;
  }
  for my $flag (@flags) {
    emit('flag', $flag, 1) if $msg->{$flag};
  }
  my $part = 0;
  for my $node ($msg->find_parts(qr/./)) {
    for my $name (qw(Content-Type Content-Disposition Content-Transfer-Encoding)) {
      my $value = scalar $node->get_header($name);
      emit('mime', "$part $name", $value) if defined $value;
      emit('mime', "$part $name:raw", scalar $node->raw_header($name));
    }
    $part++;
  }
  emit('relays', 'unparseable', $pms->{num_relays_unparseable});
  $pms->finish();
  $msg->finish();
}
